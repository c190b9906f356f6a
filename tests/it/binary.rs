//! Which binary is tested: the one that cargo built, unless a variable names another, as CI does with the static one.
//!
//! ```text
//! POSTERN_TEST_BINARY       path of the binary for all tests
//! POSTERN_TEST_BINARY_HIGH  the same for the receivers of bundles alone; an emulator may stand before it
//! ```
//!
//! A named binary has no kill points, so those tests are skipped by name: `-- --skip ::kill::`.

use std::path::PathBuf;
use std::process::Command;

/// Path of the binary under test.
pub fn path() -> PathBuf {
    std::env::var_os("POSTERN_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_postern").into(), PathBuf::from)
}

/// A command line for it, without arguments yet.
pub fn command() -> Command {
    Command::new(path())
}

/// Emulator, if any, and binary for a receiver of bundles.
///
/// # Panics
/// Where the variable is set and holds no word.
pub fn command_high() -> Command {
    let Ok(words) = std::env::var("POSTERN_TEST_BINARY_HIGH") else { return command() };
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("POSTERN_TEST_BINARY_HIGH names a binary"));
    command.args(words);
    command
}
