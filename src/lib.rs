//! Postern: an air-gapped OCI registry in one static binary.
//!
//! A module uses only modules of a lower floor, and earlier ones of its own.

// Floor 0: vocabulary. Pure.
pub mod device_id;
pub mod dsse;
pub mod error_chain;
pub mod limits;
pub mod memory;
pub mod oci;
pub mod progress;
pub mod rego;

// Floor 1: the world outside.
pub mod http;
pub mod sys;

// Floor 2: judgement. Pure.
pub mod verify;

// Floor 3: state.
pub mod store;

// Floor 4: capabilities.
pub mod access;
pub mod admission;
pub mod audit;
pub mod backup;
pub mod bundle;
pub mod enrolment;
pub mod image_layout;
pub mod retention;
pub mod upstream;

// Floor 5: surfaces.
pub mod api;
pub mod ops;
pub mod registry;
pub mod review;

// Floor 6: composition.
pub mod app;
pub mod cli;
pub mod config;
