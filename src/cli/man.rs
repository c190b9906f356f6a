//! `postern man`: manual pages, made from the same definition as the help.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use super::arguments::Arguments;
use super::{Context, ExitStatus};
use crate::app::failure::{Failure, FailureKind};
use crate::sys::dir;
use crate::sys::dir_real::RealDir;

/// Write the manual pages into a directory
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern man --out /usr/local/share/man/man1")]
pub struct ManArguments {
    /// Directory for the pages, made where it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes the pages.
pub fn run(context: &Context, arguments: &ManArguments) -> Result<ExitStatus, Failure> {
    let failed =
        |error| Failure::of(FailureKind::Failed, &error).next("name a directory that can be written to with --out");
    let out = RealDir::create(&arguments.out).map_err(failed)?;
    let pages = pages().map_err(|error| Failure::failed("a manual page cannot be made").because(&error))?;
    for (name, text) in &pages {
        dir::replace(&out, name, text).map_err(failed)?;
    }
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    context.output.result(&names, || format!("{} pages in '{}'\n", names.len(), arguments.out.display()))?;
    Ok(ExitStatus::Success)
}

/// Every page with its file name: one for the program and one for each command.
pub(super) fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Arguments::command();
    root.build();
    let mut pages = Vec::new();
    let mut waiting = vec![root];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|inner| inner.get_name() != "help").cloned());
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        pages.push((format!("{name}.1"), page(command)?));
    }
    pages.sort();
    Ok(pages)
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).manual("Postern").render(&mut text)?;
    text.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for status in ExitStatus::ALL {
        text.extend_from_slice(format!(".TP\n{}\n{}\n", status.code(), status.meaning()).as_bytes());
    }
    text.extend_from_slice(ENVIRONMENT.as_bytes());
    Ok(text)
}

const ENVIRONMENT: &str = ".SH ENVIRONMENT
.TP
POSTERN_CONFIG
the configuration file, where \\-\\-config is not given
.TP
POSTERN_DATA
the data directory, where \\-\\-data is not given
.TP
POSTERN_LOG
what is logged: a level, or module=level with commas between
.TP
NO_COLOR
no colours in log lines
";
