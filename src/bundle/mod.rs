//! Transfer bundles: signed sets of volumes that carry images over a gap (`bundles/FORMAT.md`).
