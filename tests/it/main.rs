//! The one integration binary. A test belongs here when it needs more than one module, or the real binary.

mod architecture;
mod fuzz_short;
