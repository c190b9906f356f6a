//! Who may do what: projects, accounts and their rights, passwords and robots' secrets, tokens, and how often.
//!
//! One document holds it all (`trust/access/<digest>.json`), replaced as a whole by an event of the journal. Reading a
//! request's credentials ([`Access::identify`]) and deciding what they allow ([`Access::decide`]) are two steps: rights are
//! looked up anew for each request, so that what is taken away is gone at once, whatever token is still out.
//!
//! Never here: what an image is worth. A right opens the door to the gate, not the gate.

pub mod attempts;
pub mod authorization;
pub mod change;
mod control;
pub mod decide;
pub mod document;
mod identify;
pub mod member;
pub mod name;
pub mod project;
pub mod rate;
pub mod report;
pub mod role;
pub mod scope;
pub mod secret;
pub mod session;
mod sign_in;
#[cfg(test)]
mod tests;
pub mod token;

pub use control::{Access, AccessError, AccessSettings};
pub use decide::{Caller, Denial, Subject, UndeclaredRules};
pub use document::{AccessDocument, DocumentError, Grant, Robot, User};
pub use identify::{IdentifyError, Login};
pub use project::{Enforcement, Project, ProjectKind, Visibility};
pub use role::{Action, Role};
pub use sign_in::{SessionLeft, SignIn};
