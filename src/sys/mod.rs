//! The world outside: the only owners of foreign I/O that is not HTTP. Each seam is a trait with a real and a simulated
//! form, so that a simulator can cut the power, turn the clock back and pull the stick.

pub mod certificate;
#[cfg(test)]
pub mod certificate_authority;
pub mod clock;
pub mod cryptography;
pub mod dir;
pub mod dir_layered;
pub mod dir_real;
pub mod dir_simulated;
pub mod groups;
pub mod identity;
pub mod journal_socket;
pub mod keys;
pub mod kill_point;
pub mod mac;
pub mod medium;
pub mod notify;
pub mod one_time;
pub mod password;
pub mod program;
pub mod random;
pub mod site_key;
pub mod socket_path;
