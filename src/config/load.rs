//! Finding the configuration file and turning it into a [`Config`].

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::parse::{self, Parsed};
use super::problem::{ConfigError, Problem};
use super::resolved::{self, Config};
use crate::limits::CONFIG_BYTES_MAX;
use crate::sys::dir::{self, DirError};
use crate::sys::dir_real::RealDir;

const FILE_NAME: &str = "postern.toml";
const SYSTEM_FILE: &str = "/etc/postern/postern.toml";
const SYSTEM_DATA: &str = "/var/lib/postern";

/// What the command line said about where to look.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--insecure-http`
    pub insecure_http: bool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read configuration file '{}'; name another with --config or POSTERN_CONFIG", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: DirError,
    },
    #[error("cannot tell the current directory, which a relative path counts from; use absolute paths")]
    CurrentDirectory(#[source] std::io::Error),
    #[error(transparent)]
    Unusable(#[from] ConfigError),
}

/// The configuration that holds: file, environment and command line together.
pub fn load(sources: &Sources, environment: &Environment) -> Result<Config, LoadError> {
    let data = sources.data.clone().or_else(|| environment.data.clone()).map(absolute).transpose()?;
    let file = match sources.config.clone().or_else(|| environment.config.clone()) {
        Some(file) => Some(absolute(file)?),
        None => find(data.as_deref()),
    };
    let text = file.as_deref().map(read).transpose()?;
    let overrides =
        resolved::Overrides { data_dir: data, listen: sources.listen.clone(), insecure_http: sources.insecure_http };
    let mut config = from_text(file.as_deref(), text.as_deref().unwrap_or_default(), &overrides)?;
    config.credentials.clone_from(&environment.credentials);
    Ok(config)
}

fn absolute(path: PathBuf) -> Result<PathBuf, LoadError> {
    std::path::absolute(path).map_err(LoadError::CurrentDirectory)
}

/// A named data directory is asked before the system's places; an unnamed one after them.
fn find(data: Option<&Path>) -> Option<PathBuf> {
    let in_data = data.map(|data| data.join(FILE_NAME));
    let fallback = data.is_none().then(|| Path::new(SYSTEM_DATA).join(FILE_NAME));
    [in_data, Some(PathBuf::from(SYSTEM_FILE)), fallback].into_iter().flatten().find(|file| file.exists())
}

/// A configuration file may be a link (container platforms mount it so); what it leads to is read.
fn read(path: &Path) -> Result<String, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let io = |source| failed(DirError { operation: "read", path: path.display().to_string(), source });
    let real = path.canonicalize().map_err(io)?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    };
    let bytes = dir::read_bounded(&RealDir::open(parent).map_err(failed)?, name, CONFIG_BYTES_MAX).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        io(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("not UTF-8: {}", error.utf8_error())))
    })
}

/// The configuration that `text` means, as if it stood in `file`.
pub fn from_text(file: Option<&Path>, text: &str, overrides: &resolved::Overrides) -> Result<Config, ConfigError> {
    let origin = file.map_or_else(|| "from the command line".to_owned(), |file| format!("'{}'", file.display()));
    let failed = |problems: Vec<Problem>| ConfigError { origin: origin.clone(), problems };
    let parsed: Parsed = parse::parse(text).map_err(failed)?;
    resolved::resolve(&parsed, file, overrides).map_err(failed)
}
