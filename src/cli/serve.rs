//! `postern serve`.

use std::path::PathBuf;

use clap::Args;

use super::{Context, ExitStatus};
use crate::app;
use crate::app::failure::{Failure, FailureKind};
use crate::config::file::LogFormat;
use crate::config::{Config, Sources};
use crate::ops::log::{self, LogForm, LogOptions};

/// Serve images to clients, and mirror the configured upstreams
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  postern serve --data ./low\n  postern serve --listen 127.0.0.1:5000\n  postern serve --data ./new --from-backup /mnt/second/postern"
)]
pub struct ServeArguments {
    /// Address and port [default: the configuration's listen.address]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Allow plain HTTP on an address that other machines can reach
    #[arg(long)]
    pub insecure_http: bool,
    /// Serve at once what a backup holds, from there, and fill the data directory meanwhile; it must not hold a store yet
    #[arg(long, value_name = "DIR")]
    pub from_backup: Option<PathBuf>,
    /// With --from-backup: the identity/ of the lost appliance
    #[arg(long, value_name = "DIR", requires = "from_backup")]
    pub keys: Option<PathBuf>,
}

/// Serves until it is told to end by SIGTERM or Ctrl-C.
pub fn run(context: &Context, arguments: &ServeArguments) -> Result<ExitStatus, Failure> {
    if let Some(backup) = &arguments.from_backup {
        super::backup::restore_to_serve(context, backup, arguments.keys.as_ref())?;
    }
    let sources = Sources {
        listen: arguments.listen.clone(),
        insecure_http: arguments.insecure_http,
        ..context.global.sources()
    };
    let config = context.load(&sources)?;
    log::start(&log_options(context, &config)).map_err(|error| Failure::of(FailureKind::Usage, &error))?;
    app::serve(config, &context.environment)?;
    Ok(ExitStatus::Success)
}

fn log_options(context: &Context, config: &Config) -> LogOptions {
    let level = match context.global.verbose {
        0 => config.effective.log.level.as_str(),
        1 => "debug",
        _ => "trace",
    };
    LogOptions {
        form: match config.effective.log.format {
            LogFormat::Auto => LogForm::Auto,
            LogFormat::Human => LogForm::Human,
            LogFormat::Json => LogForm::Json,
        },
        filter: context.environment.log.clone().unwrap_or_else(|| level.to_owned()),
        colour: !context.environment.no_color,
    }
}
