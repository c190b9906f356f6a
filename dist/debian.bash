# shellcheck shell=bash
# Debian packages without touching the system: an apt of our own, checked against the Debian archive keys.
#
# Sourced by tests/clients/fetch and dist/toolchain. The caller sets
#   DEBIAN_WORK     a private folder, absolute: lists, cache and sources lie there
# and calls debian_update with the lines of its sources, in which @MIRROR@ stands for the address and @KEYRING@ for the
# archive's keys. The address is taken from the machine's own apt sources, since a site may have a mirror of its own.

DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# Names by which a source of the machine is known to be Debian's.
DEBIAN_SUITES_KNOWN="bookworm trixie forky sid"

# The addresses by which this machine's apt reaches Debian's main archive, from
# both notations of its sources: deb822 stanzas and one-line entries. An entry
# counts when its suite is Debian's by name; a namesake of another vendor fails
# at the signature and the next address is tried.
debian_mirror_candidates() {
    local codename file
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        awk -v names="${codename:-stable} stable testing unstable $DEBIAN_SUITES_KNOWN" '
            function known(suites,   i, j, n, m, have, want) {
                n = split(suites, have, " "); m = split(names, want, " ")
                for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) if (have[i] == want[j]) return 1
                return 0
            }
            function flush(   i, n, uri) {
                if (types ~ /(^| )deb( |$)/ && components ~ /(^| )main( |$)/ && known(suites)) {
                    n = split(uris, uri, " ")
                    for (i = 1; i <= n; i++) print uri[i]
                }
                types = uris = suites = components = ""
            }
            function value() { sub(/^[^:]*:[ \t]*/, ""); gsub(/[ \t]+/, " "); return $0 }
            /^[ \t]*#/ { next }
            /^[ \t]*$/ { flush(); next }
            /^deb[ \t]/ {
                sub(/^deb[ \t]+(\[[^]]*\][ \t]+)?/, ""); gsub(/[ \t]+/, " ")
                types = "deb"; uris = $1; suites = $2
                sub(/^[^ ]+ [^ ]+ /, ""); components = $0
                flush(); next
            }
            tolower($1) == "types:" { types = value() }
            tolower($1) == "uris:" { uris = value() }
            tolower($1) == "suites:" { suites = value() }
            tolower($1) == "components:" { components = value() }
            END { flush() }
        ' "$file"
    done | awk '!seen[$0]++'
}

# Shared with the machine is only its way to the network (proxy settings in apt.conf.d).
debian_apt() { APT_CONFIG=$DEBIAN_WORK/apt/apt.conf "$@"; }

debian_configure() {
    local mirror=$1 architectures=$2 lines=$3
    rm -rf "$DEBIAN_WORK/apt"
    mkdir -p "$DEBIAN_WORK/apt/lists/partial" "$DEBIAN_WORK/apt/cache/archives/partial"
    : >"$DEBIAN_WORK/apt/status"
    cat >"$DEBIAN_WORK/apt/apt.conf" <<CONF
Dir::State "$DEBIAN_WORK/apt";
Dir::State::lists "$DEBIAN_WORK/apt/lists";
Dir::State::status "$DEBIAN_WORK/apt/status";
Dir::Cache "$DEBIAN_WORK/apt/cache";
Dir::Etc::sourcelist "$DEBIAN_WORK/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
#clear APT::Architectures;
APT::Architectures { "${architectures//,/\"; \"}"; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
    lines=${lines//@MIRROR@/$mirror}
    printf '%s\n' "${lines//@KEYRING@/$DEBIAN_KEYRING}" >"$DEBIAN_WORK/apt/sources.list"
}

# debian_update ARCHITECTURES LINES: tries the machine's addresses in turn; fails with the log of all of them.
debian_update() {
    local mirror
    if ! [ -r "$DEBIAN_KEYRING" ]; then
        echo "no $DEBIAN_KEYRING: install debian-archive-keyring" >&2
        return 1
    fi
    : >"$DEBIAN_WORK/update.log"
    while read -r mirror; do
        debian_configure "$mirror" "$1" "$2"
        debian_apt apt-get -qq update >>"$DEBIAN_WORK/update.log" 2>&1 && return 0
    done < <(debian_mirror_candidates)
    cat "$DEBIAN_WORK/update.log" >&2
    return 1
}
