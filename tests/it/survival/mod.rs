//! The day it happens anyway: power cuts on real file systems, calls that fail, a full disk, and the tools for afterwards.

mod disk;
mod full;
mod inject;
mod keeping;
mod power;
mod workload;
