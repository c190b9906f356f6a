//! Trusted time as an operator sees it: where it stands, what waits, and the two ways in which a person moves it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::appliance::Appliance;
use crate::app::failure::Failure;
use crate::store::{Change, Transaction};
use crate::sys::clock::{RELEASED, trusted_now};

/// What is to be done with trusted time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "time", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeOrder {
    Show,
    /// Takes the step that waits.
    Accept,
    Lower {
        to: Timestamp,
        reason: String,
    },
}

/// Where trusted time stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeReport {
    /// What the machine's clock says.
    pub wall: Timestamp,
    /// It is at least this late.
    pub floor: Timestamp,
    /// What counts as now: the later of the two.
    pub used: Timestamp,
    pub step_days_max: u32,
    pub waiting: Option<WaitingTime>,
}

/// A step that is longer than may be taken without an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingTime {
    pub at: Timestamp,
    /// On whose word.
    pub source: String,
}

/// Carries out an order; where time stands after it.
pub fn execute(appliance: &Appliance, order: TimeOrder) -> Result<TimeReport, Failure> {
    let store = &appliance.store;
    let floor = store.time_floor();
    match order {
        TimeOrder::Show => {}
        TimeOrder::Accept => {
            let Some((at, source)) = store.time_waiting()? else {
                return Err(Failure::usage("no step of trusted time waits")
                    .next("`postern trust time show` says where it stands"));
            };
            set(appliance, at, floor, format!("accepted by an operator, on the word of {source}"))?;
        }
        TimeOrder::Lower { to, reason } => {
            if to >= floor {
                return Err(Failure::usage(format!("trusted time stands at {floor}, and {to} is not earlier"))
                    .next("it rises by what is signed, or by `postern trust time accept`"));
            }
            if to < RELEASED {
                return Err(Failure::usage(format!("this release was made after {to}"))
                    .next(format!("lower it to {RELEASED} at the most")));
            }
            set(appliance, to, floor, reason)?;
        }
    }
    show(appliance)
}

fn set(appliance: &Appliance, at: Timestamp, expected: Timestamp, reason: String) -> Result<(), Failure> {
    tracing::warn!(from = %expected, to = %at, reason, "trusted time is set by an operator");
    let change = Change::SetTimeFloor { at, expected, reason };
    appliance.store.commit(Transaction::new(Appliance::operator(), vec![change]))?;
    Ok(())
}

fn show(appliance: &Appliance) -> Result<TimeReport, Failure> {
    let store = &appliance.store;
    let (wall, floor) = (store.clock().wall(), store.time_floor());
    Ok(TimeReport {
        wall,
        floor,
        used: trusted_now(wall, floor),
        step_days_max: appliance.config.effective.trusted_time.step_days_max,
        waiting: store.time_waiting()?.map(|(at, source)| WaitingTime { at, source }),
    })
}
