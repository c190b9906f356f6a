//! Everything that can be done to a transfer bundle on its way: each is refused with an error that names the volume, the
//! place and the next step, and nothing of the set can be seen afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crossing;
mod flips;
mod forge;
mod hostile;
mod power;
mod restored;
mod sets;
mod world;
