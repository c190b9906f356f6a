# shellcheck shell=bash
# The environment in which foreign binaries are built, from what dist/toolchain laid out. Sourced; the caller sets root.

environment() {
    local map dist=$root/target/dist
    export PATH=$dist/toolchain/bin:$dist/tools/bin:$PATH
    # The machine's rustup must not put another compiler in between.
    unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    export RUSTC=$dist/toolchain/bin/rustc
    # Building the standard library and trimming paths are unstable in name only; the compiler is the stable one.
    export RUSTC_BOOTSTRAP=1
    export CARGO_ZIGBUILD_ZIG_PATH=$root/dist/zig POSTERN_ZIG=$dist/ziglang/ziglang/zig
    export ZIG_GLOBAL_CACHE_DIR=$dist/zig-cache ZIG_LOCAL_CACHE_DIR=$dist/zig-cache
    # The C library is always the one that Cargo.lock names.
    export AWS_LC_SYS_USE_SYSTEM=0
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)
    export SOURCE_DATE_EPOCH CARGO_TERM_COLOR=never
    export CARGO_PROFILE_DIST_TRIM_PATHS=all
    # C writes the names of its source files into error records.
    map="-ffile-prefix-map=$root=. -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    # No panic goes through C, which then needs no tables for it.
    map="$map -fno-asynchronous-unwind-tables -fno-unwind-tables"
    export CFLAGS="$map" CXXFLAGS="$map"
    # rustc's own crt objects and zig's would meet in the linker.
    # zig ignores -static-pie, which rustc asks for, but makes exactly that of -pie where everything is static.
    export RUSTFLAGS="-Clink-self-contained=no -Crelocation-model=pie -Clink-arg=-pie -Clink-arg=-Wl,-z,noexecstack -Clink-arg=-Wl,--build-id=none"
}
