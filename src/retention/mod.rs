//! Retention: which tags are retired, by which rule, and how their bytes come back.
//!
//! `rules` and `plan` decide and touch nothing; `apply` takes the decision to the journal under a lease; `sweep` gives
//! the bytes back later, after a grace. It never removes what something kept still needs, and it never decides by age:
//! the clock of a box in a cupboard may say anything.

pub mod apply;
pub mod plan;
pub mod rules;
pub mod sweep;
#[cfg(test)]
mod tests;

pub use apply::{RetentionError, RetentionPlan, RetentionReport, apply, plan_all as plan};
pub use rules::{RetentionRule, WrittenRule};
pub use sweep::{SweepError, SweepOptions, SweepReport, sweep};
