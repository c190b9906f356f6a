//! `postern image assemble` and `postern image push`: images in layouts, outside of the store.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::context::absolute;
use super::output::{bytes, columns};
use super::{Context, ExitStatus, progress};
use crate::app::failure::Failure;
use crate::app::layouts::{self, AssembleOrder, PushOrder};
use crate::image_layout::assemble::{Assembled, Particulars};
use crate::limits::REVISION_BYTES_MAX;
use crate::oci::descriptor::Platform;
use crate::oci::name::Tag;
use crate::oci::remote_name::RemoteName;
use crate::upstream::Credentials;
use crate::upstream::push::OutgoingReport;

/// Make Postern's own image of its static binaries: an image layout for all platforms, with nothing in it but the binary
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern image assemble --output ./postern.oci linux/amd64=./amd64 linux/arm/v7=./armv7

The image runs `postern --data /var/lib/postern serve` as user 65532, with a volume for its data
and port 5000. Equal binaries and options give equal bytes. It holds no certificates: name a
ca_file for each upstream.")]
pub struct AssembleArguments {
    /// Directory of the layout: empty, or not there yet
    #[arg(long, value_name = "LAYOUT")]
    pub output: PathBuf,
    /// Static binaries and what they are for: linux/amd64, linux/arm64, linux/arm/v7
    #[arg(required = true, value_name = "PLATFORM=BINARY", value_parser = parse_binary)]
    pub binaries: Vec<(Platform, PathBuf)>,
    /// When the image was made, as it is to be said, such as 2026-01-31T00:00:00Z or seconds since 1970
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_time)]
    pub created: Timestamp,
    /// Version of the binaries, and name of the image in the layout [default: the version of this program]
    #[arg(long, value_name = "VERSION")]
    pub release: Option<Tag>,
    /// Commit that the binaries were built from
    #[arg(long, value_name = "COMMIT", value_parser = parse_revision)]
    pub revision: Option<String>,
}

/// Push an image out of an image layout into a registry: all platforms, and what speaks of them
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern image push --ca-file ./ca.pem ./postern.oci registry.example/postern:0.1.0

What is there already is not sent again. A registry that is an upstream in the configuration is
reached as it says there. Exit code 3 says that the registry refused; 4 that the layout is
damaged.")]
pub struct PushArguments {
    /// Directory of the image layout
    pub layout: PathBuf,
    /// Where the image goes
    #[arg(value_name = "REGISTRY/REPOSITORY:TAG")]
    pub destination: RemoteName,
    /// Name of the image in the layout, where it holds several
    #[arg(long)]
    pub name: Option<String>,
    /// PEM file with the certificate authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// User to log in as
    #[arg(long, requires = "password_file")]
    pub username: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// Speak without TLS; on this very machine that is tried by itself
    #[arg(long, conflicts_with = "ca_file")]
    pub plain_http: bool,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
}

fn parse_binary(text: &str) -> Result<(Platform, PathBuf), String> {
    let (platform, path) = text.split_once('=').ok_or("write PLATFORM=FILE, such as linux/amd64=./postern")?;
    let platform = platform.parse().map_err(|error: crate::oci::descriptor::PlatformError| error.to_string())?;
    Ok((platform, PathBuf::from(path)))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let parsed = match text.parse() {
        Ok(seconds) => Timestamp::from_second(seconds),
        Err(_) => text.parse(),
    };
    parsed.map_err(|error| format!("{error}; write 2026-01-31T00:00:00Z, or seconds since 1970"))
}

fn parse_revision(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > REVISION_BYTES_MAX || !is_plain {
        return Err(format!("write one word of at most {REVISION_BYTES_MAX} plain letters"));
    }
    Ok(text.to_owned())
}

/// Makes the image.
pub fn assemble(context: &Context, arguments: &AssembleArguments) -> Result<ExitStatus, Failure> {
    context.log_to_people("warn")?;
    let own_version = || env!("CARGO_PKG_VERSION").parse::<Tag>().map_err(|error| Failure::usage(error.to_string()));
    let order = AssembleOrder {
        output: absolute(&arguments.output)?,
        binaries: arguments.binaries.clone(),
        particulars: Particulars {
            created: arguments.created,
            release: arguments.release.clone().map_or_else(own_version, Ok)?,
            revision: arguments.revision.clone(),
        },
    };
    let made = layouts::assemble(&order, progress::on_standard_error(context.output).as_ref())?;
    context.output.result(&made, || assembled_text(&made))?;
    Ok(ExitStatus::Success)
}

fn assembled_text(made: &Assembled) -> String {
    let mut rows = vec![["PLATFORM", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
    for image in &made.platforms {
        rows.push(vec![image.platform.clone(), image.digest.to_string(), bytes(image.layer_bytes)]);
    }
    format!("{}image {}\n", columns(&rows), made.digest)
}

/// Pushes an image.
pub fn push(context: &Context, arguments: &PushArguments) -> Result<ExitStatus, Failure> {
    context.log_to_people("warn")?;
    let order = PushOrder {
        layout: arguments.layout.clone(),
        name: arguments.name.clone(),
        destination: arguments.destination.clone(),
        ca_file: arguments.ca_file.clone(),
        credentials: Credentials::of(arguments.username.as_ref(), arguments.password_file.as_ref()),
        plain_http: arguments.plain_http,
        dry_run: arguments.dry_run,
    };
    let progress = progress::on_standard_error(context.output);
    let report = layouts::push(&context.config()?, &order, progress.as_ref())?;
    drop(progress);
    context.output.result(&report, || pushed_text(&report, &order))?;
    Ok(ExitStatus::Success)
}

fn pushed_text(report: &OutgoingReport, order: &PushOrder) -> String {
    let (verb, sent) = if order.dry_run { ("would push", "to send") } else { ("pushed", "sent") };
    let mut text = format!(
        "{verb} {} {}\n{sent}: {} of {} blobs ({}), {} of {} manifests\n",
        order.destination,
        report.digest,
        report.blobs_sent,
        report.blobs,
        bytes(report.bytes_sent),
        report.manifests_sent,
        report.manifests,
    );
    if report.referrers_tagged > 0 {
        let listed = if order.dry_run { "would be listed" } else { "were listed" };
        text.push_str(&format!(
            "{} manifests that speak of it {listed} under a tag: the registry lists none by itself\n",
            report.referrers_tagged
        ));
    }
    text
}
