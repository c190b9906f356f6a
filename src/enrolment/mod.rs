//! Which other devices this one knows, and how it came to know them.
