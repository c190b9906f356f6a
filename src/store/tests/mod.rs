//! The store as its users see it.

mod life;
mod world;
