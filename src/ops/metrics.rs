//! What is counted, as text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Write as _;

use super::access_log::AccessLog;
use super::health::Health;
use crate::admission::ReviewCounts;
use crate::http::traffic::TrafficCounts;
use crate::store::ConditionKind;

/// The media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is known of the store and the listeners at one moment. The access log is asked for its own counters.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub health: Health,
    pub is_ready: bool,
    /// What is not as it should be.
    pub conditions: Vec<ConditionKind>,
    /// By the name of the listener.
    pub listeners: Vec<(&'static str, TrafficCounts)>,
    pub uploads_count: u64,
    /// Judging what is here anew.
    pub gate: ReviewCounts,
    pub free_bytes: Option<u64>,
    /// Files of content and their bytes, when they were counted last.
    pub blobs: Option<(u64, u64)>,
    pub running_seconds: u64,
}

/// The whole text.
pub fn text(snapshot: &Snapshot, access_log: &AccessLog) -> String {
    let mut page = Page(String::new());
    let version = snapshot.health.version;
    page.gauge("postern_info", "The version that runs.", &[(&[("version", version)], 1)]);
    page.gauge("postern_ready", "1 while requests are answered.", &[(&[], u64::from(snapshot.is_ready))]);
    conditions(&mut page, &snapshot.conditions);
    let sequence = snapshot.health.sequence;
    page.counter("postern_journal_sequence", "Changes that are durable and visible.", &[(&[], sequence)]);
    let seconds = snapshot.running_seconds;
    page.counter("postern_running_seconds_total", "Seconds for which the store was open.", &[(&[], seconds)]);
    page.gauge("postern_uploads_open", "Upload sessions that are open.", &[(&[], snapshot.uploads_count)]);
    if let Some(bytes) = snapshot.free_bytes {
        page.gauge("postern_disk_free_bytes", "Bytes that may still be written.", &[(&[], bytes)]);
    }
    if let Some((count, bytes)) = snapshot.blobs {
        page.gauge("postern_blobs", "Files of content, as last counted.", &[(&[], count)]);
        page.gauge("postern_blobs_bytes", "Their bytes, as last counted.", &[(&[], bytes)]);
    }
    gate(&mut page, &snapshot.gate);
    listeners(&mut page, &snapshot.listeners);
    requests(&mut page, access_log);
    losses(&mut page, access_log);
    page.0
}

fn conditions(page: &mut Page, conditions: &[ConditionKind]) {
    let counted = ConditionKind::ALL.map(|kind| ([("condition", kind.name())], u64::from(conditions.contains(&kind))));
    page.gauge("postern_condition", "1 while something is not as it should be.", &rows(&counted));
}

fn gate(page: &mut Page, gate: &ReviewCounts) {
    page.counter(
        "postern_gate_generation",
        "Rises when policy, trust or the deny list in force changes.",
        &[(&[], gate.generation)],
    );
    page.gauge(
        "postern_gate_reviewed",
        "1 when everything that is here was judged in this generation.",
        &[(&[], u64::from(gate.is_reviewed))],
    );
    page.gauge(
        "postern_gate_review_manifests",
        "Manifests that the newest review has judged.",
        &[(&[], gate.looked_at)],
    );
    page.gauge("postern_gate_review_refused", "Those of them that are served no more.", &[(&[], gate.refused)]);
    let verdicts = [
        ([("outcome", "served")], gate.judged_total.saturating_sub(gate.judged_refused_total)),
        ([("outcome", "refused")], gate.judged_refused_total),
    ];
    page.counter(
        "postern_gate_verdicts_total",
        "Judgements of what is here, without those remembered.",
        &rows(&verdicts),
    );
}

fn listeners(page: &mut Page, listeners: &[(&'static str, TrafficCounts)]) {
    let of = |value: fn(&TrafficCounts) -> u64| -> Vec<([(&'static str, &str); 1], u64)> {
        listeners.iter().map(|(name, counts)| ([("listener", *name)], value(counts))).collect()
    };
    let accepted = of(|counts| counts.accepted);
    page.counter("postern_connections_total", "Connections that were accepted.", &rows(&accepted));
    page.gauge("postern_connections_open", "Connections that are open.", &rows(&of(|counts| counts.open)));
    let turned_away = of(|counts| counts.turned_away);
    page.counter(
        "postern_connections_turned_away_total",
        "Connections of peers that may not connect.",
        &rows(&turned_away),
    );
    let received = of(|counts| counts.received_bytes);
    page.counter("postern_received_bytes_total", "Bytes received, without those of TLS.", &rows(&received));
    page.counter(
        "postern_sent_bytes_total",
        "Bytes sent, without those of TLS.",
        &rows(&of(|counts| counts.sent_bytes)),
    );
}

fn requests(page: &mut Page, access_log: &AccessLog) {
    let answered: Vec<(&str, String, u64)> = access_log
        .requests()
        .answered()
        .into_iter()
        .map(|(class, status, count)| (class, if status == 0 { "other".to_owned() } else { status.to_string() }, count))
        .collect();
    let labelled: Vec<_> = answered
        .iter()
        .map(|(class, status, count)| ([("route", *class), ("status", status.as_str())], *count))
        .collect();
    page.counter(
        "postern_requests_total",
        "Requests that were answered, by kind of route and status.",
        &rows(&labelled),
    );
    let bytes = access_log.requests().sent_bytes();
    let labelled: Vec<_> = bytes.iter().map(|(class, bytes)| ([("route", *class)], *bytes)).collect();
    page.counter("postern_answer_bytes_total", "Bytes of bodies that were sent, by kind of route.", &rows(&labelled));
}

fn losses(page: &mut Page, access_log: &AccessLog) {
    let refused = access_log.refused_count();
    page.counter(
        "postern_requests_stopped_total",
        "Requests that were answered with 503 since their records might have been lost.",
        &[(&[], refused)],
    );
    let kept: Vec<_> = access_log.places().map(|place| ([("place", place.name())], place.kept_count())).collect();
    page.counter("postern_access_log_records_total", "Records that were kept.", &rows(&kept));
    let lost: Vec<_> = access_log.places().map(|place| ([("place", place.name())], place.lost_count())).collect();
    page.counter("postern_access_log_lost_total", "Records that were lost.", &rows(&lost));
    let waiting: Vec<_> =
        access_log.places().map(|place| ([("place", place.name())], place.waiting_count() as u64)).collect();
    page.gauge("postern_access_log_waiting", "Records that wait.", &rows(&waiting));
}

type Row<'r> = (&'r [(&'r str, &'r str)], u64);

fn rows<'r, const N: usize>(labelled: &'r [([(&'r str, &'r str); N], u64)]) -> Vec<Row<'r>> {
    labelled.iter().map(|(labels, value)| (labels.as_slice(), *value)).collect()
}

struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str, rows: &[Row<'_>]) {
        self.family(name, help, "counter", rows);
    }

    fn gauge(&mut self, name: &str, help: &str, rows: &[Row<'_>]) {
        self.family(name, help, "gauge", rows);
    }

    fn family(&mut self, name: &str, help: &str, kind: &str, rows: &[Row<'_>]) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in rows {
            self.0.push_str(name);
            for (position, (label, text)) in labels.iter().enumerate() {
                let _ = write!(self.0, "{}{label}=\"{}\"", if position == 0 { '{' } else { ',' }, escaped(text));
            }
            if !labels.is_empty() {
                self.0.push('}');
            }
            let _ = writeln!(self.0, " {value}");
        }
    }
}

/// The text of a label, as the format has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Snapshot, escaped, text};
    use crate::admission::ReviewCounts;
    use crate::http::traffic::TrafficCounts;
    use crate::ops::access_log::{AccessLog, AccessRecord};
    use crate::ops::health::{Health, HealthStatus};
    use crate::ops::traffic::RouteClass;
    use crate::store::ConditionKind;
    use crate::sys::clock::RealClock;
    use crate::sys::dir_simulated::SimulatedDir;

    #[test]
    fn what_was_counted_stands_there() {
        let log = AccessLog::start(Arc::new(SimulatedDir::default()), Arc::new(RealClock)).unwrap();
        log.record(AccessRecord { class: RouteClass::BlobGet, status: 206, bytes: 7, ..AccessRecord::default() });
        let counts = TrafficCounts { accepted: 3, open: 1, turned_away: 2, received_bytes: 10, sent_bytes: 20 };
        let snapshot = Snapshot {
            health: Health { status: HealthStatus::Ok, version: "1.2.3", sequence: 9 },
            is_ready: true,
            conditions: vec![ConditionKind::ReserveGivenUp],
            listeners: vec![("registry", counts), ("metrics", TrafficCounts::default())],
            uploads_count: 4,
            gate: ReviewCounts {
                generation: 2,
                is_reviewed: true,
                looked_at: 30,
                refused: 1,
                judged_total: 40,
                judged_refused_total: 3,
            },
            free_bytes: Some(5),
            blobs: Some((6, 700)),
            running_seconds: 8,
        };
        let text = text(&snapshot, &log);
        for line in [
            "# TYPE postern_requests_total counter",
            "postern_requests_total{route=\"blob_get\",status=\"206\"} 1",
            "postern_answer_bytes_total{route=\"blob_get\"} 7",
            "postern_connections_open{listener=\"registry\"} 1",
            "postern_connections_turned_away_total{listener=\"registry\"} 2",
            "postern_info{version=\"1.2.3\"} 1",
            "postern_ready 1",
            "postern_condition{condition=\"read_only\"} 0",
            "postern_condition{condition=\"reserve_given_up\"} 1",
            "postern_journal_sequence 9",
            "postern_uploads_open 4",
            "postern_gate_generation 2",
            "postern_gate_reviewed 1",
            "postern_gate_review_refused 1",
            "postern_gate_verdicts_total{outcome=\"served\"} 37",
            "postern_blobs_bytes 700",
            "postern_access_log_lost_total{place=\"file\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        // The grammar: a comment, or a name with labels and a number.
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<u64>().is_ok() && name.starts_with("postern_"), "{line}");
            assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
        }
    }

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
