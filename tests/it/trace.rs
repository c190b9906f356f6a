//! A witness for every dial: the command runs under strace, and what it asked of the network is read from the record.
//!
//! An empty namespace proves that nobody *answered*; only the record proves that nobody was *asked*. What the parser
//! cannot read it reports: an unknown line is a finding, never a pass. io_uring would go past this; nothing here has it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::skip;

/// Every call that names a peer.
const CALLS: [&str; 4] = ["connect", "sendto", "sendmsg", "sendmmsg"];

/// Local by nature: unix sockets, the kernel's own, and the one that takes an address *off* a socket.
const LOCAL_FAMILIES: [&str; 3] = ["AF_UNIX", "AF_NETLINK", "AF_UNSPEC"];

/// One attempt to reach something that is neither a unix socket nor loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The address asked for, or the family's name where we know no notation for it.
    pub peer: String,
    /// The line of the record, for the person who has to find out why.
    pub line: String,
}

pub struct Trace {
    strace: PathBuf,
    record: PathBuf,
}

impl Trace {
    /// A record to be written to `record`, or a skip where there is no strace. One record for each command.
    #[track_caller]
    pub fn to(record: &Path) -> Option<Self> {
        Some(Self { strace: skip::machine_tool("strace", "strace")?, record: record.to_owned() })
    }

    /// The same command and its children, watched. The process started is the command's own (`-D` makes the tracer a
    /// grandchild), so that its id, its signals and its end are what a test expects. Wrap this into a namespace, not
    /// the namespace into this: `ip` itself talks netlink.
    pub fn wrap(&self, command: &Command) -> Command {
        // -s 0: payloads stay out of the record, so that nothing in them can look like an address.
        // -v: without it, -s 0 would also shorten arrays of messages, and their addresses with them.
        // --seccomp-bpf: only the calls asked for stop the process; a hashing importer would else crawl.
        let fixed = ["-D", "-f", "--seccomp-bpf", "-q", "-s", "0", "-v", "-e"].map(OsString::from);
        let calls = OsString::from(format!("trace={}", CALLS.join(",")));
        let rest = [OsString::from("-o"), self.record.clone().into(), OsString::from("--")];
        let leading: Vec<_> = fixed.into_iter().chain([calls]).chain(rest).collect();
        process::prefixed(&self.strace, &leading, command)
    }

    /// The dials of a command that has ended. The tracer outlives it by a moment: its last line is waited for.
    #[track_caller]
    pub fn dials(&self, pid: u32) -> Vec<Dial> {
        let text = process::wait_for("the end of the record", Duration::from_secs(20), || {
            let text = std::fs::read_to_string(&self.record).ok()?;
            text.lines().any(|line| ends_process(line, pid)).then_some(text)
        });
        parse(&text)
    }

    /// Fails the test with every dial that was made.
    #[track_caller]
    pub fn assert_silent(&self, pid: u32) {
        let dials = self.dials(pid);
        assert!(dials.is_empty(), "somebody outside was asked for:\n{dials:#?}");
    }
}

/// All dials in a record of `strace -f -e trace=…`.
pub fn parse(record: &str) -> Vec<Dial> {
    record.lines().flat_map(dials_of_line).collect()
}

/// `PID +++ exited with 0 +++` or `PID +++ killed by SIGKILL +++`; the number is padded to a column.
fn ends_process(line: &str, pid: u32) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(&pid.to_string()) && words.next() == Some("+++")
}

/// A call that another thread interrupts stands in two lines; the peer is in the first, `<... connect resumed>` has none.
fn dials_of_line(line: &str) -> Vec<Dial> {
    let Some((call, arguments)) = call_of_line(line) else { return Vec::new() };
    let dial = |peer: String| Dial { peer, line: line.to_owned() };
    let mut peers = arguments.split("sa_family=").skip(1).peekable();
    if peers.peek().is_none() {
        // Only a connect must name its peer; the others may write to one named before.
        return if call == "connect" { vec![dial("unreadable".to_owned())] } else { Vec::new() };
    }
    peers.filter_map(outside_peer).map(dial).collect()
}

fn call_of_line(line: &str) -> Option<(&str, &str)> {
    let (call, arguments) = line.split_once('(')?;
    let call = call.rsplit(' ').next()?;
    CALLS.contains(&call).then_some((call, arguments))
}

/// `rest` begins with the family's name. `None` for what is local.
fn outside_peer(rest: &str) -> Option<String> {
    let family = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    if LOCAL_FAMILIES.contains(&family) {
        return None;
    }
    let quoted = rest.split('"').nth(1).unwrap_or_default();
    let loopback = match family {
        "AF_INET" => quoted.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()),
        "AF_INET6" => quoted.parse().is_ok_and(|address: Ipv6Addr| address.to_canonical().is_loopback()),
        _ => false,
    };
    let named = matches!(family, "AF_INET" | "AF_INET6");
    (!loopback).then(|| if named { quoted.to_owned() } else { family.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Trace, ends_process, parse};
    use crate::netns::Namespace;
    use crate::process;
    use std::process::Command;
    use std::time::Duration;

    fn check(line: &str, expected: &[&str]) {
        let peers: Vec<_> = parse(line).into_iter().map(|dial| dial.peer).collect();
        assert_eq!(peers, expected, "{line}");
    }

    #[test]
    fn local_peers_are_no_dials() {
        check(r#"7 connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = -1 ENOENT (No such file)"#, &[]);
        check("7 connect(3, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0", &[]);
        check("7 connect(3, {sa_family=AF_UNSPEC, sa_data=\"\"...}, 16) = 0", &[]);
        check(
            r#"7 connect(7, {sa_family=AF_INET, sin_port=htons(5000), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            &[],
        );
        check(
            r#"7 connect(3, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0"#,
            &[],
        );
        check(
            r#"7 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "::ffff:127.0.0.1", &sin6_addr)}, 28) = 0"#,
            &[],
        );
        check(r#"7 sendto(3, ""..., 32, MSG_NOSIGNAL, NULL, 0) = 32"#, &[]);
        check("7 <... connect resumed>) = 0", &[]);
        check("7 +++ exited with 0 +++", &[]);
        check("7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=9} ---", &[]);
    }

    #[test]
    fn every_outside_peer_is_a_dial() {
        let v4 = r#"sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.53")"#;
        check(&format!("17406 connect(3, {{{v4}}}, 16) = 0"), &["192.0.2.53"]);
        check(&format!("17406 connect(3, {{{v4}}}, 16 <unfinished ...>"), &["192.0.2.53"]);
        check(&format!("connect(3, {{{v4}}}, 16) = -1 ENETUNREACH (Network is unreachable)"), &["192.0.2.53"]);
        check(&format!(r#"9 sendto(3, ""..., 1, 0, {{{v4}}}, 16) = 1"#), &["192.0.2.53"]);
        check(&format!(r#"9 sendmsg(3, {{msg_name={{{v4}}}, msg_namelen=16, msg_iov=[]}}, 0) = 1"#), &["192.0.2.53"]);
        check(&format!("9 sendmmsg(3, [{{msg_name={{{v4}}}}}, {{msg_name={{{v4}}}}}], 2, 0) = 2"), &["192.0.2.53"; 2]);
        check(
            r#"9 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &a)}, 28) = 0"#,
            &["2001:db8::1"],
        );
        check(
            r#"9 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "::ffff:192.0.2.1", &a)}, 28) = 0"#,
            &["::ffff:192.0.2.1"],
        );
    }

    #[test]
    fn what_cannot_be_read_is_a_dial() {
        check("9 connect(3, 0x7ffd4a4a, 16) = -1 EFAULT (Bad address)", &["unreadable"]);
        check("9 connect(3, {sa_family=AF_BLUETOOTH, sa_data=\"\"...}, 16) = 0", &["AF_BLUETOOTH"]);
        check("9 connect(3, {sa_family=AF_INET, sin_port=htons(1)}, 16) = 0", &[""]);
        // The unspecified address means this machine to the kernel today. It is nobody's loopback by name.
        check(r#"9 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("0.0.0.0")}, 16) = 0"#, &["0.0.0.0"]);
    }

    #[test]
    fn the_end_is_that_of_the_process_itself() {
        for (line, expected) in [
            ("2181  +++ exited with 0 +++", true),
            ("2181  +++ killed by SIGKILL +++", true),
            ("2182  +++ exited with 0 +++", false),
            ("12181 +++ exited with 0 +++", false),
            ("2181  --- SIGCHLD {si_signo=SIGCHLD} ---", false),
        ] {
            assert_eq!(ends_process(line, 2181), expected, "{line}");
        }
    }

    /// The positive control: the real strace, a real dial from a grandchild, inside a namespace that lets none out.
    #[test]
    fn a_real_dial_is_caught_and_loopback_is_not() {
        let Some(namespace) = Namespace::empty() else { return };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let dials = |name: &str, address: &str| {
            let trace = Trace::to(&folder.path().join(name))?;
            let mut command = Command::new("/bin/bash");
            command.args(["-c", &format!("(exec 3<>/dev/tcp/{address}/9); exec 3<>/dev/udp/{address}/9; exit 3")]);
            let ran = process::run(namespace.wrap(&trace.wrap(&command)), Duration::from_secs(20));
            Some(trace.dials(ran.pid).into_iter().map(|dial| dial.peer).collect::<Vec<_>>())
        };
        let Some(outside) = dials("outside", "192.0.2.1") else { return };
        assert_eq!(outside, ["192.0.2.1", "192.0.2.1"]);
        assert_eq!(dials("loopback", "127.0.0.1").expect("strace was there just now"), Vec::<String>::new());
    }
}
