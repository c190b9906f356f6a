//! `postern config`: check, show, and describe the configuration.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::config::{Sources, document};

/// Check, show and describe the configuration
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern config check --config /etc/postern/postern.toml")]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file: line, key, problem and what to do
    #[command(after_help = "Example:\n  postern config check /etc/postern/postern.toml")]
    Check {
        /// The file [default: the one that would be used]
        file: Option<PathBuf>,
    },
    /// Print every key with the value that holds now and the bounds of memory that follow, or a commented file of the defaults
    #[command(after_help = "Example:\n  postern config show --defaults > postern.toml")]
    Show {
        /// The defaults as a commented file
        #[arg(long)]
        defaults: bool,
    },
    /// Print the JSON Schema of the file, or the page of documentation
    #[command(after_help = "Example:\n  postern config schema > postern.schema.json")]
    Schema {
        /// The page of documentation in Markdown instead
        #[arg(long)]
        markdown: bool,
    },
}

/// Runs one of them.
pub fn run(context: &Context, command: &ConfigCommand) -> Result<ExitStatus, Failure> {
    match command {
        ConfigCommand::Check { file } => check(context, file.clone())?,
        ConfigCommand::Show { defaults: true } => context.output.text(&document::commented(&[]))?,
        ConfigCommand::Show { defaults: false } => show(context)?,
        ConfigCommand::Schema { markdown: true } => context.output.text(&document::reference())?,
        ConfigCommand::Schema { markdown: false } => {
            let schema = serde_json::to_string_pretty(&document::schema())
                .map_err(|error| Failure::failed("the schema cannot be written").because(&error))?;
            context.output.text(&format!("{schema}\n"))?;
        }
    }
    Ok(ExitStatus::Success)
}

fn check(context: &Context, file: Option<PathBuf>) -> Result<(), Failure> {
    let sources = context.global.sources();
    let config = context.load(&Sources { config: file.or(sources.config), ..sources })?;
    context.output.result(&serde_json::json!({ "file": config.source, "problems": [] }), || match &config.source {
        Some(file) => format!("'{}' is in order\n", file.display()),
        None => "no configuration file was found; the defaults hold and are in order\n".to_owned(),
    })
}

fn show(context: &Context) -> Result<(), Failure> {
    let config = context.config()?;
    let text = toml::to_string(&config.effective)
        .map_err(|error| Failure::failed("the configuration cannot be written as TOML").because(&error))?;
    let bounds = config.bounds();
    let written = toml::to_string(&bounds)
        .map_err(|error| Failure::failed("the bounds cannot be written as TOML").because(&error))?;
    let result = serde_json::json!({ "file": config.source, "configuration": config.effective, "bounds": bounds });
    context.output.result(&result, || {
        let origin = config.source.as_ref().map_or("defaults".to_owned(), |file| file.display().to_string());
        let from = match config.effective.memory_max_bytes {
            Some(_) => "Bounds that follow from memory_max_bytes; they are no keys:",
            None => "Bounds of each part without memory_max_bytes; they are no keys:",
        };
        let lines: String = written.lines().map(|line| format!("#   {line}\n")).collect();
        format!("# {origin}\n{text}\n# {from}\n{lines}")
    })
}
