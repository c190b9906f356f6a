//! Durable state: the journal is the truth, the index a view of it, blobs are files named by their digest.
