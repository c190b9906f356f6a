//! `postern version`.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::config::environment;
use crate::sys::cryptography::{Cryptography, SelfTest, kernel_is_fips};

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
    target: String,
    edition: &'static str,
    cryptography: String,
    /// Whether it is the validated module in approved mode.
    fips: bool,
    certificate: Option<&'static str>,
    self_test: &'static str,
    kernel_fips: Option<bool>,
    statement: Option<&'static str>,
    why_not_fips: Option<String>,
    allocator: &'static str,
    index: &'static str,
    features: Vec<&'static str>,
    debug_build: bool,
    kill_points: bool,
}

/// Prints the version; more of it when asked for details.
pub fn run(context: &Context) -> Result<ExitStatus, Failure> {
    let details = (context.global.verbose > 0).then(details);
    let version = Version { version: env!("CARGO_PKG_VERSION"), details };
    context.output.result(&version, || {
        let mut text = format!("postern {}\n", version.version);
        if let Some(details) = &version.details {
            text.push_str(&human(details));
        }
        text
    })?;
    Ok(ExitStatus::Success)
}

fn details() -> Details {
    let cryptography = Cryptography::linked();
    let fips = cryptography.require_fips();
    let kill_points = cfg!(feature = "killpoints");
    Details {
        architecture: environment::ARCHITECTURE,
        operating_system: environment::OPERATING_SYSTEM,
        target: target(),
        edition: cryptography.edition,
        fips: fips.is_ok(),
        certificate: cryptography.certificate,
        self_test: match cryptography.self_test {
            SelfTest::Passed => "passed",
            SelfTest::NotApproved => "not in approved mode",
            SelfTest::None => "none in this edition",
        },
        kernel_fips: kernel_is_fips().ok(),
        statement: cryptography.statement(),
        why_not_fips: fips.err().map(|error| error.to_string()),
        cryptography: cryptography.module,
        allocator: "the C library's",
        index: "sled 0.34.7",
        features: [("fips", cfg!(feature = "fips")), ("killpoints", kill_points)]
            .into_iter()
            .filter_map(|(name, is_on)| is_on.then_some(name))
            .collect(),
        debug_build: cfg!(debug_assertions),
        kill_points,
    }
}

/// Processor, system and C library that this binary is built for, and whether that library is inside it.
fn target() -> String {
    let library = match (cfg!(target_env = "musl"), cfg!(target_env = "gnu")) {
        (true, _) => "musl",
        (_, true) => "gnu",
        _ => "other",
    };
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    format!("{}-{}-{library}, {linked}", environment::ARCHITECTURE, environment::OPERATING_SYSTEM)
}

fn human(details: &Details) -> String {
    let kernel = match details.kernel_fips {
        Some(true) => "FIPS mode on",
        Some(false) => "FIPS mode off",
        None => "FIPS mode cannot be read",
    };
    let features = if details.features.is_empty() { "none".to_owned() } else { details.features.join(" ") };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    line("for", &details.target);
    line("edition", details.edition);
    line("cryptography", &details.cryptography);
    line("certificate", details.certificate.unwrap_or("none"));
    line("self-test", details.self_test);
    line("kernel", kernel);
    line("allocator", details.allocator);
    line("index", details.index);
    line("features", &features);
    if details.debug_build {
        line("build", "not optimised, for development");
    }
    if details.kill_points {
        line("kill points", "built in: for tests only");
    }
    if let Some(statement) = details.statement {
        line("FIPS", statement);
    }
    if let Some(reason) = &details.why_not_fips {
        line("not FIPS", reason);
    }
    text
}
