//! What the commands on transfer bundles say to people.

use super::output::{bytes, columns, pairs};
use crate::app::report::{ExportedReport, ImportedReport, PlanReport, ReceiptsReport};
use crate::bundle::inspect::{InspectedSet, Inspection};
use crate::bundle::receipt::{AdmittedEntry, Receipt, RefusedEntry, RuleSummary};
use crate::oci::name::Tag;

/// A plan, image by image, and whether it fits.
pub fn plan(plan: &PlanReport) -> String {
    let mut rows =
        vec![["IMAGE", "PLATFORMS", "SIGNATURES", "ATTESTATIONS", "OTHER", "POLICY HERE"].map(str::to_owned).to_vec()];
    for image in &plan.images {
        rows.push(vec![
            format!("{}{}", image.repository, tags_text(&image.tags)),
            image.platforms.join(","),
            image.evidence.signatures.to_string(),
            image.evidence.attestations.to_string(),
            image.evidence.other.to_string(),
            image.refusal.as_ref().map_or("admits".to_owned(), |refusal| format!("refuses: {refusal}")),
        ]);
    }
    let mut text = columns(&rows);
    text.push('\n');
    text.push_str(&pairs(&[
        ("receiver", format!("{} ({})", plan.receiver_name, plan.request.receiver.fingerprint())),
        ("series", format!("{}, sequence {}", plan.request.series, plan.sequence)),
        ("content", format!("{} in {} blobs", bytes(plan.content_bytes), plan.blobs_count)),
        ("volumes", format!("at most {}, {} in all", plan.volumes_count_max, bytes(plan.volumes_bytes_max))),
    ]));
    if let Some(medium) = &plan.medium {
        let fits = if medium.fits { "the set fits" } else { "THE SET MAY NOT FIT" };
        text.push_str(&format!("medium  {}: {} free, {fits}\n", medium.label, bytes(medium.free_bytes)));
    }
    for missing in &plan.missing {
        text.push_str(&format!(
            "missing: {} of {}; fetch it with `postern mirror fetch {}`\n",
            missing.digest, missing.image, missing.image
        ));
    }
    for layer in &plan.elsewhere {
        text.push_str(&format!("stays behind: {} of {}, a non-distributable layer\n", layer.digest, layer.image));
    }
    text
}

/// What was written, and that the medium may go.
pub fn exported(report: &ExportedReport) -> String {
    let export = &report.export;
    let mut text = format!(
        "set {}\n{}, sequence {}: {} images, {} blobs, {} of content\n",
        export.set,
        export.series,
        export.sequence,
        export.images_count,
        export.blobs_count,
        bytes(export.content_bytes)
    );
    for volume in &export.volumes {
        let found = if volume.written { "" } else { "  (was there)" };
        text.push_str(&format!("  {}  {}{found}\n", volume.file, bytes(volume.bytes)));
    }
    if report.read_back {
        text.push_str("every volume was read back and is whole; the medium may be taken out\n");
    }
    text
}

/// What stands on a medium.
pub fn inspection(inspection: &Inspection) -> String {
    if inspection.sets.is_empty() {
        return format!("no volume of a transfer bundle is on '{}'\n", inspection.label);
    }
    inspection.sets.iter().map(inspected_set).collect()
}

fn inspected_set(set: &InspectedSet) -> String {
    let mut text = format!("set {}\n", set.name);
    if let Some(summary) = &set.summary {
        let sealed_by = match &summary.sender_name {
            Some(name) => format!("{name} ({}), enrolled here", summary.sender.fingerprint()),
            None => format!("{}, NOT enrolled here: nothing below is proved", summary.sender.fingerprint()),
        };
        let receivers: Vec<String> = summary.receivers.iter().map(|receiver| receiver.fingerprint()).collect();
        text.push_str(&pairs(&[
            ("  sealed by", sealed_by),
            ("  for", receivers.join(", ")),
            ("  series", format!("{}, sequence {}", summary.series, summary.sequence)),
            ("  made", summary.created.to_string()),
            ("  content", bytes(summary.content_bytes)),
            ("  volumes", format!("{} here of {}", set.volumes_here.len(), summary.volumes)),
        ]));
        for image in &summary.images {
            text.push_str(&format!(
                "  image {}{} {} ({} signatures and other companions)\n",
                image.repository,
                tags_text(&image.tags),
                image.platforms.join(","),
                image.companions_count
            ));
        }
    }
    if !set.volumes_missing.is_empty() {
        let missing: Vec<String> = set.volumes_missing.iter().map(u16::to_string).collect();
        text.push_str(&format!("  missing here: volumes {}\n", missing.join(", ")));
    }
    for problem in &set.problems {
        text.push_str(&format!("  problem: {problem}\n"));
    }
    text
}

/// What came in and what did not.
pub fn imported(report: &ImportedReport) -> String {
    let mut text = format!("set {}, {} sequence {}\n", report.set, report.series, report.sequence);
    if report.already_imported {
        text.push_str("it was imported before; nothing was done, this is its receipt of then\n");
        if !report.refused.is_empty() {
            text.push_str(
                "what was refused is judged again when another policy is active: postern policy activate FILE\n",
            );
        }
    }
    text.push_str(&entries(&report.admitted, &report.refused));
    text.push_str(&format!(
        "{} admitted, {} refused; read {} from the medium\nsigned receipt: {}\n",
        report.admitted.len(),
        report.refused.len(),
        bytes(report.bytes_read),
        report.receipt_path.display()
    ));
    text
}

fn entries(admitted: &[AdmittedEntry], refused: &[RefusedEntry]) -> String {
    let mut text = String::new();
    for entry in admitted {
        let rules: Vec<&str> = entry.rules.iter().map(|rule| rule.rule.as_str()).collect();
        text.push_str(&format!(
            "  admitted  {}{} {} by {}\n",
            entry.repository,
            tags_text(&entry.tags),
            entry.digest,
            if rules.is_empty() { "nothing but its project".to_owned() } else { rules.join(", ") }
        ));
        if let Some(RuleSummary { rule, reason }) = &entry.unenforced {
            text.push_str(&format!("            not enforced: rule '{rule}' refuses it: {reason}\n"));
        }
    }
    for entry in refused {
        text.push_str(&format!(
            "  refused   {}{} {}\n            rule '{}': {}\n",
            entry.repository,
            tags_text(&entry.tags),
            entry.digest,
            entry.rule,
            entry.reason
        ));
        if let Some(next_step) = &entry.next_step {
            text.push_str(&format!("            next step: {next_step}\n"));
        }
    }
    text
}

/// Receipts, a line for each.
pub fn receipts(report: &ReceiptsReport) -> String {
    if report.receipts.is_empty() {
        return "no receipt is kept here; `postern bundle import` signs one for each set\n".to_owned();
    }
    let mut rows = vec![["SET", "SERIES", "SEQUENCE", "ADMITTED", "REFUSED", "TIME"].map(str::to_owned).to_vec()];
    for receipt in &report.receipts {
        rows.push(vec![
            receipt.set.to_string(),
            receipt.series.clone(),
            receipt.sequence.to_string(),
            receipt.admitted.len().to_string(),
            receipt.refused.len().to_string(),
            receipt.time.to_string(),
        ]);
    }
    columns(&rows)
}

/// One receipt as a page.
pub fn receipt(receipt: &Receipt) -> String {
    let mut text = pairs(&[
        ("set", receipt.set.to_string()),
        ("sender", receipt.sender.fingerprint()),
        ("receiver", receipt.receiver.fingerprint()),
        ("series", format!("{}, sequence {}", receipt.series, receipt.sequence)),
        ("volumes", receipt.volumes.to_string()),
        ("table", receipt.table_digest.to_string()),
        ("policy", receipt.policy_digest.to_string()),
        ("journal", format!("epoch {} sequence {}", receipt.position.epoch, receipt.position.sequence)),
        ("time", receipt.time.to_string()),
    ]);
    text.push_str(&entries(&receipt.admitted, &receipt.refused));
    text.push_str("the signature is the receiver's\n");
    text
}

fn tags_text(tags: &[Tag]) -> String {
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    if tags.is_empty() { String::new() } else { format!(":{}", tags.join(",")) }
}
