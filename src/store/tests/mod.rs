//! The store as its users see it.

mod conditions;
mod crash;
mod damage;
mod faults;
mod form;
mod life;
mod scrub;
mod snapshot;
mod time;
mod world;
