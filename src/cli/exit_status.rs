//! What the process says to its caller when it ends.

use std::process::{ExitCode, Termination};

use serde::Serialize;

/// The exit codes. They are part of the interface: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[repr(u8)]
pub enum ExitStatus {
    Success = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Damaged = 4,
    NotNow = 5,
}

impl ExitStatus {
    /// Every code, for documentation.
    pub const ALL: [Self; 6] = [Self::Success, Self::Failed, Self::Usage, Self::Refused, Self::Damaged, Self::NotNow];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the code means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::Failed => "the operation failed",
            Self::Usage => "the command line or the configuration is wrong",
            Self::Refused => "refused by policy or verification; nothing, or only a part, was admitted",
            Self::Damaged => "the input is damaged or was tampered with",
            Self::NotNow => "not possible now: busy, locked, full, or a volume is missing; try again later",
        }
    }

    /// The table of codes as it stands in help and manual.
    pub fn table() -> String {
        let lines: Vec<String> =
            Self::ALL.iter().map(|status| format!("  {}  {}", status.code(), status.meaning())).collect();
        lines.join("\n")
    }
}

impl Termination for ExitStatus {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
