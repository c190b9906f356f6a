//! The composition: everything that acts on a data directory, built once and used by the server and by commands.

pub mod accounts;
mod admin;
mod appliance;
pub mod artifacts;
pub mod audit;
pub mod backups;
mod bundles;
mod enrol;
mod execute;
pub mod failure;
mod images;
mod kinds;
mod kinds_of_bundles;
pub mod layouts;
mod mirrors;
pub mod operation;
mod perform;
mod policy;
pub mod report;
pub mod retire;
mod serve;
pub mod setup;
pub mod signer;
#[cfg(test)]
mod simulation;
pub mod site;
pub mod trust;
pub mod upkeep;
pub mod verify;

pub use appliance::Appliance;
pub use perform::perform;
pub use serve::serve;
