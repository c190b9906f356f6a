//! The OCI distribution API towards clients.
