//! The day it happens anyway: power cuts on real file systems, calls that fail, a full disk, and the tools for afterwards.

mod disk;
mod full;
mod images;
mod inject;
mod keeping;
// Without the feature there is no binary that can be told where to die.
#[cfg(feature = "killpoints")]
mod kill;
mod power;
mod workload;
