//! `postern version`.

use serde::Serialize;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::config::environment;

#[derive(Serialize)]
struct Version {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    architecture: &'static str,
    operating_system: &'static str,
    cryptography: &'static str,
    fips: bool,
    index: &'static str,
    debug_build: bool,
    kill_points: bool,
}

/// Prints the version; more of it when asked for details.
pub fn run(context: &Context) -> Result<ExitStatus, Failure> {
    let details = (context.global.verbose > 0).then_some(Details {
        architecture: environment::ARCHITECTURE,
        operating_system: environment::OPERATING_SYSTEM,
        cryptography: "AWS-LC (aws-lc-rs)",
        fips: false,
        index: "sled 0.34.7",
        debug_build: cfg!(debug_assertions),
        kill_points: cfg!(feature = "killpoints"),
    });
    let version = Version { version: env!("CARGO_PKG_VERSION"), details };
    context.output.result(&version, || {
        let mut text = format!("postern {}\n", version.version);
        if let Some(details) = &version.details {
            text.push_str(&format!(
                "  for            {} {}\n  cryptography   {}, not a FIPS build\n  index          {}\n",
                details.architecture, details.operating_system, details.cryptography, details.index
            ));
            if details.debug_build {
                text.push_str("  build          not optimised, for development\n");
            }
            if details.kill_points {
                text.push_str("  kill points    built in: for tests only\n");
            }
        }
        text
    })?;
    Ok(ExitStatus::Success)
}
