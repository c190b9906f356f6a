//! The configuration file: parsed as written, then resolved to what it means.
