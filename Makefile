# The two commands are `make run` and `make test`. The others are parts of them, or for those who change the code.

SHELL := /bin/sh
CARGO ?= cargo
TOOLS := target/tools

.PHONY: help run stop test check format lint deny fuzz-short golden bench load dist dist-twice test-static test-arm deb test-deb image dist-fips test-fips test-large test-memory test-power test-calls simulate test-docker clean

help:
	@echo "make run         build, then carry a sample bundle from a low side to a high side and leave the registry up"
	@echo "make stop        stop what make run left running"
	@echo "make test        everything that proves it: formatting, lints, documentation, all tests with real clients"
	@echo "make check       formatting, lints, licences and sources of dependencies"
	@echo "make test-large  a blob of 5 GiB pushed, read in ranges, carried over and pulled: 12 GiB of disk, minutes"
	@echo "make test-memory as root: import, push, pull, mirror, export and sweep where 64 MiB are all there is"
	@echo "make test-power  as root: the power is cut 320 times on ext4 and xfs while images are pushed, and 40 copies of the block"
	@echo "                 device are taken in the middle of pushes, deletions and imports; half an hour"
	@echo "make test-calls  every write, sync and rename of pushes fails in turn, under POSTERN_TEST_BINARY or the debug"
	@echo "                 build; some minutes, or one of them with CALL=rename"
	@echo "make simulate    a simulated appliance with power cuts, kills and faults; SEEDS=… says for how many seeds"
	@echo "make test-docker as root: a real dockerd with both of its image stores, and buildx, push and pull"
	@echo "make fuzz-short  every parser of foreign bytes with some thousand mutated inputs"
	@echo "make dist        static binaries for amd64, arm64 and armv7, with checksums and SBOM, in target/dist/out"
	@echo "make dist-twice  the amd64 binary built in two folders and compared"
	@echo "make test-static the integration tests with this machine's static binary"
	@echo "make test-arm    the unit and integration tests with the armv7 and arm64 binaries, emulated"
	@echo "make bench       the measurements behind SPECIFICATION.md, beside docker-registry and nginx in the same run"
	@echo "make load        64 clients that pull and push for five minutes: no error, no wrong byte, no growing memory"
	@echo "make deb         Debian packages of the static binaries; make test-deb tries them in a clean tree"
	@echo "make image       the image of the static binaries for three platforms, as an OCI layout in target/dist/out"
	@echo "make dist-fips   the FIPS edition for amd64, static, with what was seen of it (docs/fips.md)"
	@echo "make test-fips   the same, and all tests with it but those of kill points"
	@echo "make golden      make the golden bundle anew, with real clients"

run:
	@bundles/demonstration/run

stop:
	@bundles/demonstration/stop

test: prepare format lint deny
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib --quiet
	$(CARGO) test --features killpoints
	systemd/check
	tests/conformance/run
	dist/test-static
	dist/test-arm --short armv7-unknown-linux-musleabihf

# The same test as in `make test`, where it is short: here offsets go beyond 32 bits. TMPDIR says on which disk.
test-large: prepare
	POSTERN_TEST_LARGE_BYTES=5368709120 $(CARGO) test --features killpoints --test it large:: -- --nocapture

# The same test as in `make test`, where it cuts a few times, and copies of the device, of which `make test` takes none.
test-power:
	POSTERN_TEST_POWER_STATES=160 $(CARGO) test --features killpoints --test it -- survival::power survival::images --include-ignored --nocapture --test-threads 2

# The same test as in `make test`, where it is a sample.
test-calls:
	POSTERN_TEST_CALLS=$(or $(CALL),all) $(CARGO) test --features killpoints --test it survival::inject -- --nocapture

# Seeds that nobody has run before; a failure names its seed, which POSTERN_SIMULATE_SEED replays on the same commit.
simulate:
	POSTERN_SIMULATE_SEEDS=$(or $(SEEDS),1000) $(CARGO) test --features killpoints --lib simulation::for_a_long_time -- --ignored --nocapture

# The release binary in a control group; POSTERN_TEST_BINARY names another one.
test-memory:
	[ -n "$$POSTERN_TEST_BINARY" ] || $(CARGO) build --release --quiet
	tests/memory/check

# Tools and real clients that the tests use: from Debian, unpacked privately; packages of the system only when root.
.PHONY: prepare
prepare:
	@tests/prepare

check: format lint deny

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --all-targets --features killpoints --quiet -- -D warnings

# Without the advisory database, which lives on a host that an air-gapped machine cannot reach; see deny.toml.
deny: $(TOOLS)/bin/cargo-deny
	$(CARGO) fetch --locked --quiet
	$(CARGO) fetch --locked --quiet --manifest-path fips/Cargo.toml
	$(TOOLS)/bin/cargo-deny --offline check --hide-inclusion-graph bans licenses sources
	$(TOOLS)/bin/cargo-deny --offline --config deny.toml --manifest-path fips/Cargo.toml check --hide-inclusion-graph bans licenses sources

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-deny

fuzz-short:
	$(CARGO) test --test it fuzz_short -- --nocapture

# As root: a real dockerd with both image stores, and buildx.
test-docker: prepare
	$(CARGO) build --quiet
	tests/docker-by-hand

# Beside docker-registry and nginx (apt-get install nginx, or NGINX=…); POSTERN_TEST_BINARY names another binary.
bench: prepare
	$(CARGO) bench
	[ -n "$$POSTERN_TEST_BINARY" ] || $(CARGO) build --release --quiet
	benches/peers
	benches/scale

# 64 clients that pull and push for five minutes; SECONDS=… for another while.
load:
	[ -n "$$POSTERN_TEST_BINARY" ] || $(CARGO) build --release --quiet
	benches/load $(SECONDS)

dist-fips:
	@dist/fips

test-fips:
	@dist/test-fips

golden:
	bundles/golden/regenerate

# A fresh machine needs nothing but the toolchain: the rest comes to target/dist. TRIPLE=… builds one of the three.
dist:
	dist/build $(TRIPLE)

dist-twice:
	dist/twice $(TRIPLE)

# The unit tests as Arm binaries, emulated.
test-static:
	dist/test-static

test-arm:
	dist/test-arm $(TRIPLE)

# Debian packages of the ready static binaries in target/dist/out.
deb: $(TOOLS)/bin/cargo-deb
	dist/deb target/dist/out target/deb

# As root: installs, upgrades and removes this machine's package in a clean Debian tree below target/.
test-deb: deb
	tests/packages/check target/deb

# The static binaries in target/dist/out as one image for three platforms; builds them where they are missing.
image:
	image/build

$(TOOLS)/bin/cargo-deb:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-deb

clean: stop
	$(CARGO) clean
	rm -rf run
