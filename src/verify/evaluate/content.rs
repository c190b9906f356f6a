//! Content rules: what an image holds, whoever signed it. Every platform that wants to come in must satisfy all of it.

use jiff::{SignedDuration, Timestamp};

use super::part::{Miss, Part, quoted, shown};
use crate::verify::content::{Files, ImageConfig, ImageContent, PACKAGE_MANAGERS, SHELLS, User, is_program};
use crate::verify::policy::content_rule::{ContentRule, SizeRule, budget};
use crate::verify::verdict::{Action, Check, CheckResult, Outcome};

/// How far a time may lie ahead of ours: clocks differ, and what comes from next year is a lie.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);
const BYTES_PER_MEBIBYTE: u64 = 1024 * 1024;

/// Judges one content rule on the images that were looked into.
pub fn judge(rule: &ContentRule, images: &[ImageContent], now: Timestamp) -> Part {
    let mut checks = Vec::new();
    for image in images {
        for result in demands(rule, image, now) {
            let (outcome, reason) = match result {
                Ok(reason) => (Outcome::Passed, reason),
                Err(reason) => (Outcome::Failed, reason),
            };
            let platform = image.config.as_ref().map_or("", |config| config.platform.as_str());
            let reason = if platform.is_empty() { reason } else { format!("{}: {reason}", shown(platform)) };
            let evidence_digest = Some(image.manifest);
            checks.push(CheckResult {
                check: Check::Content,
                action: Action::Enforced,
                outcome,
                reason,
                evidence_digest,
            });
        }
    }
    let failed = checks.iter().find(|check| check.outcome == Outcome::Failed).map(|check| check.reason.clone());
    match failed {
        _ if images.is_empty() => {
            let reason = "nothing of it is here that could be looked into".to_owned();
            Part::failed(Miss { tells: 0, reason, next_step: Some("bring it whole") }, checks)
        }
        Some(reason) => Part::failed(Miss { tells: 0, reason, next_step: Some("build it as the rule says") }, checks),
        None => Part::passed("its content is as the rule says".to_owned(), checks),
    }
}

type Judged = Result<String, String>;

fn demands(rule: &ContentRule, image: &ImageContent, now: Timestamp) -> Vec<Judged> {
    let config = || image.config.as_ref().map_err(|reason| shown(reason));
    let files = || image.files.as_ref().map_err(|reason| shown(reason));
    let mut judged: Vec<Judged> = Vec::new();
    if rule.non_root {
        judged.push(config().and_then(|config| user(&config.user, &image.files)));
    }
    for (key, pattern) in &rule.labels {
        judged.push(config().and_then(|config| match config.labels.get(key) {
            Some(value) if pattern.matches(value) => Ok(format!("label '{key}' is '{}'", shown(value))),
            Some(value) => Err(format!("label '{key}' is '{}', wanted is '{pattern}'", shown(value))),
            None => Err(format!("it has no label '{key}', wanted is '{pattern}'")),
        }));
    }
    if rule.no_shell {
        judged.push(files().and_then(|files| none(files, "shell", &|path| is_program(path, &SHELLS))));
    }
    if rule.no_package_manager {
        let is_one = |path: &str| is_program(path, &PACKAGE_MANAGERS);
        judged.push(files().and_then(|files| none(files, "package manager", &is_one)));
    }
    if let Some((forbidden, _)) = &rule.forbidden {
        judged.push(files().and_then(|files| none(files, "forbidden path", &|path| forbidden.is_match(path))));
    }
    if let Some(size) = &rule.size {
        judged.push(files().and_then(|files| config().and_then(|config| within(size, files, config))));
    }
    if let Some(days) = rule.base_age_days_max {
        judged.push(config().and_then(|config| young(config, days, now)));
    }
    judged
}

/// A number that is not nought, or a name that stands for one in the image's own list.
fn user(written: &str, files: &Result<Files, String>) -> Judged {
    let name = match User::of(written) {
        User::Nobody => return Err("it says no user, and so runs as root".to_owned()),
        User::Number(0) => return Err("it runs as user 0, which is root".to_owned()),
        User::Number(number) => return Ok(format!("it runs as user {number}")),
        User::Unclear(user) => {
            return Err(format!(
                "it runs as user '{}', which is neither a number nor a name to every runtime",
                shown(user)
            ));
        }
        User::Name("root") => return Err("it runs as user 'root'".to_owned()),
        User::Name(name) => name,
    };
    let shown_name = shown(name);
    match files.as_ref().map(|files| files.users.get(name)) {
        Ok(Some(0)) => Err(format!("it runs as user '{shown_name}', which is another name for root")),
        Ok(Some(number)) => Ok(format!("it runs as user '{shown_name}', which is {number}")),
        Ok(None) => Err(format!("it runs as user '{shown_name}', who has no number in its etc/passwd")),
        Err(reason) => Err(format!("whether user '{shown_name}' is root is not known: {}", shown(reason))),
    }
}

fn none(files: &Files, what: &str, is_one: &dyn Fn(&str) -> bool) -> Judged {
    let found: Vec<String> = files.found.iter().filter(|path| is_one(path)).map(|path| shown(path)).collect();
    match found.as_slice() {
        [] => Ok(format!("there is no {what}")),
        _ => Err(format!("there is a {what} in it: {}", quoted(found))),
    }
}

fn within(size: &SizeRule, files: &Files, config: &ImageConfig) -> Judged {
    let (mebibytes_max, of) = match size {
        SizeRule::MebibytesMax(mebibytes) => (*mebibytes, String::new()),
        SizeRule::Label(label) => match config.labels.get(label) {
            None => return Err(format!("it has no label '{label}', which names its size budget")),
            Some(runtime) => match budget(runtime) {
                Some(mebibytes) => (mebibytes, format!(" for '{runtime}'")),
                None => {
                    return Err(format!("label '{label}' is '{}', for which there is no size budget", shown(runtime)));
                }
            },
        },
    };
    let mebibytes = files.unpacked_bytes.div_ceil(BYTES_PER_MEBIBYTE);
    match files.unpacked_bytes <= mebibytes_max.saturating_mul(BYTES_PER_MEBIBYTE) {
        true => Ok(format!("it is {mebibytes} MiB unpacked, at the most {mebibytes_max} MiB{of}")),
        false => Err(format!("it is {mebibytes} MiB unpacked, and at the most {mebibytes_max} MiB are allowed{of}")),
    }
}

fn young(config: &ImageConfig, days_max: i64, now: Timestamp) -> Judged {
    let Some(created) = config.base_created else {
        return Err("it does not say when its base was made".to_owned());
    };
    let age = now.duration_since(created);
    if -age > AHEAD_MAX {
        return Err(format!("its base was made at {created}, which lies ahead of now"));
    }
    match age.as_hours() / 24 {
        days if age > SignedDuration::from_hours(24 * days_max) => {
            Err(format!("its base was made at {created}, {days} days ago, and at the most {days_max} are allowed"))
        }
        days => Ok(format!("its base was made {} days ago", days.max(0))),
    }
}
