//! Composition: builds everything from a configuration and runs operations on it.
