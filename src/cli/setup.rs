//! `postern setup`: from nothing to an appliance that can be started, in one command that can be repeated.

use std::path::PathBuf;

use clap::Args;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::setup::{SetupOrder, SetupReport, set_up};

/// Make a data directory: device keys, store, self-signed certificate, configuration
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern setup --data ./low --name low-side --listen 127.0.0.1:5000")]
pub struct SetupArguments {
    /// Name of this appliance, part of its identity [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Address that the configuration will listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    pub listen: std::net::SocketAddr,
}

/// Makes what is missing and says what to type next.
pub fn run(context: &Context, arguments: &SetupArguments) -> Result<ExitStatus, Failure> {
    let data_dir = context
        .global
        .data
        .clone()
        .or_else(|| context.environment.data.clone())
        .unwrap_or_else(|| PathBuf::from("/var/lib/postern"));
    let order = SetupOrder { data_dir, name: arguments.name.clone(), listen: arguments.listen };
    let report = set_up(&order)?;
    context.output.result(&report, || human(&report))?;
    Ok(ExitStatus::Success)
}

fn human(report: &SetupReport) -> String {
    let data = shell_word(&report.data_dir.display().to_string());
    let state = match report.created {
        true => format!("'{}' is set up.", report.name),
        false => format!("'{}' was set up before; nothing was changed.", report.name),
    };
    format!(
        "{state}

  device fingerprint   {fingerprint}
  data directory       {data_dir}
  configuration        {configuration}
  certificate          {certificate}

Next:
  postern serve --data {data}
  curl --cacert {certificate_word} https://{listen}/v2/
  postern user add anna --grant 'admin:*' --data {data}   # until then, and unless access.anonymous_networks says so, only this machine pulls
  postern enroll show --data {data} --out {name}.identity.json   # give this file to the other side
",
        fingerprint = report.fingerprint,
        data_dir = report.data_dir.display(),
        configuration = report.configuration.display(),
        certificate = report.certificate.display(),
        certificate_word = shell_word(&report.certificate.display().to_string()),
        listen = report.listen,
        name = shell_word(&report.name),
    )
}

/// A text as one word of a shell command.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+,=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn shell_words() {
        let check = |text: &str, expected: &str| assert_eq!(super::shell_word(text), expected);
        check("./low-side", "./low-side");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("", "''");
        check("$x", "'$x'");
    }
}
