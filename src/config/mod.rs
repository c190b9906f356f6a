//! What a person configured: the one file, the environment, and what both mean together.
//!
//! [`mod@file`] holds the definition (structure, documentation and default of every key); [`document`] turns that same
//! definition into a schema, a commented file and a page of documentation; [`parse`] reads a file against it and says
//! which line to mend; [`resolved`] is what the rest of the program gets to see. Only this module reads the
//! environment. It never opens anything but the configuration file.

mod access_log;
pub mod document;
pub mod environment;
pub mod file;
pub mod load;
pub mod parse;
pub mod problem;
pub mod resolved;
mod shape;

pub use environment::Environment;
pub use load::{LoadError, Sources, load};
pub use problem::{ConfigError, Problem};
pub use resolved::Config;
