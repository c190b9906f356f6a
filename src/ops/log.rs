//! Log lines: for people on a terminal, as JSON for a journal. Always on standard error, never with a secret in them:
//! types that hold one print themselves without it.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// For people on a terminal, JSON otherwise.
    Auto,
    Human,
    Json,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    pub form: LogForm,
    /// `level`, or `module=level` with commas between.
    pub filter: String,
    pub colour: bool,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log filter '{filter}' cannot be read: write a level, or module=level with commas between")]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging is set up already")]
    Again(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the whole process, once.
pub fn start(options: &LogOptions) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&options.filter)
        .map_err(|source| LogError::Filter { filter: options.filter.clone(), source })?;
    let terminal = io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_span_events(FmtSpan::NONE);
    let result = match options.form {
        LogForm::Human => lines.with_ansi(terminal && options.colour).try_init(),
        LogForm::Auto if terminal => lines.with_ansi(options.colour).try_init(),
        LogForm::Auto | LogForm::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    result.map_err(LogError::Again)
}
