//! `postern status`.

use super::output::{bytes, pairs};
use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::report::StatusReport;
use crate::store::ConditionKind;

/// Shows what the appliance holds and how it is.
pub fn run(context: &Context) -> Result<ExitStatus, Failure> {
    context.operate(Operation::Status, human)
}

fn human(status: &StatusReport) -> String {
    let head = &status.head;
    let policy = status.policy.map_or_else(|| "none: nothing is trusted".to_owned(), |digest| digest.to_string());
    let upstreams = match (status.offline, status.upstreams.is_empty()) {
        (true, _) => "offline: none is ever dialled".to_owned(),
        (false, true) => "none".to_owned(),
        (false, false) => status.upstreams.join(", "),
    };
    let mut shown = vec![
        ("name", status.name.clone()),
        ("fingerprint", status.fingerprint.clone()),
        ("version", status.version.clone()),
        ("data directory", status.data_dir.display().to_string()),
        ("journal", format!("{} epoch {} sequence {}", head.journal_id, head.epoch, head.sequence)),
    ];
    if status.format < status.format_newest {
        let what = format!("{}; 'postern store finalize' allows {}", status.format, status.format_newest);
        shown.push(("form of the store", what));
    }
    if status.conditions.is_empty() {
        shown.push(("state", "in order".to_owned()));
    }
    shown.extend(status.conditions.iter().map(|condition| match condition.kind {
        ConditionKind::ReadOnly => ("state", format!("read-only: {}", condition.detail)),
        ConditionKind::JournalDamaged | ConditionKind::ReserveGivenUp | ConditionKind::TrustDamaged => {
            ("state", condition.detail.clone())
        }
    }));
    shown.extend([
        ("free space", bytes(status.free_bytes)),
        ("running time", format!("{} s", status.running_seconds)),
        ("trust policy", policy),
        ("upstreams", upstreams),
        ("repositories", status.repositories_count.to_string()),
        ("enrolled", format!("{} senders, {} receivers", status.senders_count, status.receivers_count)),
    ]);
    pairs(&shown)
}
