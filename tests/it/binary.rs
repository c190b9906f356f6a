//! Which binary is tested: the one that cargo built, unless a variable names another, as `dist/test-static` does with the
//! static one and `dist/test-arm` with one behind an emulator.
//!
//! ```text
//! POSTERN_TEST_BINARY       path of the binary for all tests
//! POSTERN_TEST_BINARY_HIGH  the same for the receivers of bundles alone
//! ```

use std::path::PathBuf;
use std::process::Command;

/// Path of the binary under test.
pub fn path() -> PathBuf {
    named("POSTERN_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_postern").into())
}

/// A command line for it, without arguments yet.
pub fn command() -> Command {
    Command::new(path())
}

/// The same for a receiver of bundles.
pub fn command_high() -> Command {
    Command::new(named("POSTERN_TEST_BINARY_HIGH").unwrap_or_else(path))
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}
