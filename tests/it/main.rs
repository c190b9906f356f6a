//! The one integration binary. A test belongs here when it needs more than one module, the real binary, or the world
//! outside: the clients that people use, a registry that is not ours, a network that is not there, and a witness for
//! every dial.
//!
//! The harness never sleeps for a fixed time, never uses a fixed port and never leaves a process behind.
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside the product: its owners of files and time are what they test"
)]

mod access;
mod api;
mod architecture;
mod binary;
mod clients;
mod collectors;
mod command_line;
mod containerd;
mod crossing;
mod cryptographic_crates;
mod demonstration;
mod editions;
mod every_vector;
mod fuzz_short;
mod gate;
mod golden;
mod http;
mod image_layout;
mod keyless;
mod large;
mod listeners;
mod names;
mod netns;
mod outside;
mod outside_world;
mod process;
mod push;
mod review;
mod serving;
mod skip;
mod survival;
mod tampering;
mod trace;
mod trust;
mod vectors;
mod verify;
