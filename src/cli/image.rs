//! `postern image`: what can be pulled, and images outside of the store.

use clap::Subcommand;

use super::image_layout::{self, AssembleArguments, PushArguments};
use super::output::{bytes, columns, pairs};
use super::{Context, ExitStatus, verdict};
use crate::admission::{Described, DocumentForm, DocumentKind};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::report::{ImageReport, ImagesReport};
use crate::oci::name::{ImageReference, RepositoryName};

/// List and show stored images, make Postern's own, push from an image layout
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  postern image list\n  postern image show registry.example/apps/web:2.1.0")]
pub enum ImageCommand {
    /// List every tag: digest, platforms, and the rules of the active policy that it satisfies
    #[command(after_help = "Example:\n  postern image list registry.example/apps/web")]
    List {
        /// Only this repository
        repository: Option<RepositoryName>,
    },
    /// Show one image: platforms, parts, what speaks of it, and what the policy says
    #[command(after_help = "Example:\n  postern image show registry.example/apps/web:2.1.0 --json")]
    Show {
        /// The image, as NAME:TAG or NAME@DIGEST
        image: ImageReference,
    },
    Assemble(AssembleArguments),
    Push(PushArguments),
}

/// Runs one of them.
pub fn run(context: &Context, command: &ImageCommand) -> Result<ExitStatus, Failure> {
    match command {
        ImageCommand::List { repository } => {
            context.operate(Operation::ImageList { repository: repository.clone() }, list_text)
        }
        ImageCommand::Show { image } => context.operate(Operation::ImageShow { reference: image.clone() }, show_text),
        ImageCommand::Assemble(arguments) => image_layout::assemble(context, arguments),
        ImageCommand::Push(arguments) => image_layout::push(context, arguments),
    }
}

fn list_text(report: &ImagesReport) -> String {
    if report.images.is_empty() {
        return "no image is here; `postern mirror fetch` or `postern bundle import` bring some\n".to_owned();
    }
    let mut rows = vec![["REPOSITORY", "TAG", "DIGEST", "PLATFORMS", "RULES"].map(str::to_owned).to_vec()];
    for image in &report.images {
        rows.push(vec![
            image.repository.to_string(),
            image.tag.to_string(),
            image.digest.to_string(),
            or_dash(&image.platforms),
            or_dash(&image.rules),
        ]);
    }
    columns(&rows)
}

fn or_dash(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

fn show_text(image: &ImageReport) -> String {
    let tags: Vec<&str> = image.tags.iter().map(|tag| tag.as_str()).collect();
    let mut text = pairs(&[
        ("repository", image.repository.to_string()),
        ("digest", image.digest.to_string()),
        ("tags", tags.join(", ")),
        ("media type", image.media_type.clone()),
        ("origin", image.origin.clone().unwrap_or_else(|| "-".to_owned())),
        ("platforms", or_dash(&image.platforms)),
    ]);
    for child in &image.children {
        let platform = child.platform.as_deref().unwrap_or(&child.media_type);
        let absent = if child.present { "" } else { "  (not here)" };
        text.push_str(&format!("  {} {platform} {}{absent}\n", child.digest, bytes(child.size_bytes)));
    }
    for referrer in &image.referrers {
        let kind = referrer.artifact_type.as_deref().unwrap_or("a manifest");
        text.push_str(&format!("  {} {kind}, speaks of this image\n", referrer.digest));
    }
    text.push_str(&documents_text(&image.described));
    text.push_str(&verdict::text(&image.judgement));
    text
}

/// What is attached; what it is worth stands in the verdict.
fn documents_text(described: &Described) -> String {
    let of_platforms =
        described.platforms.iter().flat_map(|of| of.documents.iter().map(|found| (of.platform.as_str(), found)));
    let all = described.documents.iter().map(|found| ("the whole", found)).chain(of_platforms);
    let lines = all.map(|(about, found)| {
        let kind = match found.kind {
            DocumentKind::Signature => "signature",
            DocumentKind::Sbom => "SBOM",
            DocumentKind::Provenance => "provenance",
            DocumentKind::Attestation => "attestation",
        };
        let form = if found.form == DocumentForm::Index { " (in the index, not signed)" } else { "" };
        format!("  {kind} of {about}: {}, {}{form}\n", found.document_type, bytes(found.size_bytes))
    });
    let more = if described.incomplete { "  and more platforms than are looked at\n" } else { "" };
    lines.chain([more.to_owned()]).collect()
}
