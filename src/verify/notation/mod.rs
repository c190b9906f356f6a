//! Notation signatures (Notary Project): envelopes in JSON and CBOR, trust stores, and trust policies.
//!
//! Written here because there is no crate, and not with a general one for signed tokens: which headers must be there, which
//! must be critical and which algorithm a key dictates are Notation's own rules.

mod cbor;
pub mod cose;
pub mod envelope;
pub mod jws;
pub mod name;
pub mod trust;
pub mod verify;

pub use envelope::{Envelope, EnvelopeError, Scheme};
pub use trust::{Level, TrustError, TrustStore, TrustStoreKind, TrustedIdentities};
pub use verify::{Notation, NotationCheck, NotationError, NotationSigner, Target};
