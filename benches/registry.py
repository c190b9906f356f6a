"""What the measurements of a running registry share: a server of ours or of others, its processor time and memory, and the
few requests that a client makes."""
import hashlib, http.client, json, os, signal, socket, subprocess, time

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and its children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return [pid, *map(int, children.read().split())]


def cpu_seconds(pid):
    def one(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    return sum(map(one, family(pid))) / TICKS


def peak_kb(pid):
    def one(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    return sum(map(one, family(pid)))


class Server:
    def __init__(self, name, command, port, log, context=None):
        self.name, self.port, self.context = name, port, context
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(400):
            if self.process.poll() is not None:
                raise SystemExit(f"peers: {name} ended at once; look into {log.name}")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"peers: {name} does not listen")

    def connect(self):
        if self.context:
            return http.client.HTTPSConnection("localhost", self.port, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port)

    def cost(self, work):
        before = cpu_seconds(self.process.pid)
        work(self)
        return cpu_seconds(self.process.pid) - before

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def ask(connection, method, path, body=None, headers=None, buffer=bytearray(MIB)):
    """Asks, drains the answer, and gives its status and headers."""
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    view, total = memoryview(buffer), 0
    while count := answer.readinto(view):
        total += count
    if answer.status >= 400:
        raise SystemExit(f"peers: {method} {path}: {answer.status} {bytes(buffer[:300])}")
    return answer, total


def push_blob(connection, repository, content):
    answer, _ = ask(connection, "POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
    place = answer.getheader("Location")
    place = place[place.index("/v2/"):]
    place += ("&" if "?" in place else "?") + "digest=" + digest(content)
    ask(connection, "PUT", place, body=content, headers={"Content-Type": "application/octet-stream"})


def push_image(server, repository, layers):
    connection = server.connect()
    for content in [b"{}", *layers]:
        push_blob(connection, repository, content)
    entry = lambda kind, content: {"mediaType": kind, "digest": digest(content), "size": len(content)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": entry("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [entry("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    content = json.dumps(manifest).encode()
    ask(connection, "PUT", f"/v2/{repository}/manifests/v1", body=content, headers={"Content-Type": MANIFEST_TYPE})
    return content
