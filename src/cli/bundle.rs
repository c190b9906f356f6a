//! `postern bundle`: carrying images over a gap.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::bundle_text as text;
use super::context::absolute;
use super::{Context, ExitStatus, size};
use crate::app::failure::Failure;
use crate::app::operation::{BundleOrder, Operation};
use crate::app::report::{ImportedReport, ReceiptReport};
use crate::bundle::plan::DEFAULT_SERIES;
use crate::limits::{RECEIPT_BYTES_MAX, VOLUME_BYTES_MAX};
use crate::oci::name::ImageReference;

/// Carry images over a gap: plan, export, inspect, import
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:
  postern bundle plan --receiver high-side --medium /media/stick registry.example/apps/web:2.1.0
  postern bundle export --receiver high-side --medium /media/stick registry.example/apps/web:2.1.0
  postern bundle import /media/stick")]
pub enum BundleCommand {
    /// Say what would travel: images, platforms, signatures, bytes, volumes, room on the medium; nothing is written
    #[command(after_help = "Example:
  postern bundle plan --receiver high-side --medium /media/stick registry.example/apps/web:2.1.0")]
    Plan(OrderArguments),
    /// Seal a set and write it to a medium, then read it back
    #[command(after_help = "Example:
  postern bundle export --receiver high-side --medium /media/stick registry.example/apps/web:2.1.0")]
    Export(OrderArguments),
    /// Say what stands on a medium, and whose seal it has
    #[command(after_help = "Example:\n  postern bundle inspect /media/stick")]
    Inspect {
        /// Directory of the medium
        medium: PathBuf,
    },
    /// Check a set on a medium, judge its images, take in what the policy admits, and sign a receipt
    #[command(after_help = "Example:\n  postern bundle import /media/stick\n\n\
                            Exit code 3 says that something was refused; what was admitted is there all the same.")]
    Import {
        /// Directory of the medium
        medium: PathBuf,
        /// Id of the set or its beginning, where the medium holds several
        #[arg(long)]
        set: Option<String>,
    },
    /// List receipts, show one, or check one that came back from a receiver
    #[command(after_help = "Example:\n  postern bundle receipt\n  postern bundle receipt 5f2c --out receipt.json\n  \
                            postern bundle receipt ./receipt.json")]
    Receipt {
        /// Id of a set or its beginning, or a receipt's file
        receipt: Option<String>,
        /// Write the signed receipt here, to be carried back to the sender
        #[arg(long, value_name = "FILE", requires = "receipt")]
        out: Option<PathBuf>,
    },
}

/// What is to travel.
#[derive(Debug, Args)]
pub struct OrderArguments {
    /// Images, as NAME:TAG or NAME@DIGEST
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<ImageReference>,
    /// Enrolled receiver: its name, fingerprint or id
    #[arg(long, visible_alias = "to")]
    pub receiver: String,
    /// Directory of the medium
    #[arg(long, value_name = "DIR")]
    pub medium: Option<PathBuf>,
    /// Series that the set belongs to; sets of a series come in in order
    #[arg(long, default_value = DEFAULT_SERIES)]
    pub series: String,
    /// Only these platforms, such as linux/arm64 [default: all]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub platforms: Vec<String>,
    /// Largest file on the medium, such as 700MB [default: 4 GiB less one byte, what FAT32 takes]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub volume_size: Option<u64>,
}

impl OrderArguments {
    fn order(&self) -> Result<BundleOrder, Failure> {
        Ok(BundleOrder {
            references: self.images.clone(),
            platforms: (!self.platforms.is_empty()).then(|| self.platforms.clone()),
            receiver: self.receiver.clone(),
            series: self.series.clone(),
            volume_bytes_max: self.volume_size.unwrap_or(VOLUME_BYTES_MAX),
            medium: self.medium.as_deref().map(absolute).transpose()?,
        })
    }
}

/// Runs one of them.
pub fn run(context: &Context, command: &BundleCommand) -> Result<ExitStatus, Failure> {
    match command {
        BundleCommand::Plan(order) => context.operate(Operation::BundlePlan(order.order()?), text::plan),
        BundleCommand::Export(order) => {
            if order.medium.is_none() {
                return Err(Failure::usage("no medium to export to").next("name its directory with --medium"));
            }
            context.operate(Operation::BundleExport(order.order()?), text::exported)
        }
        BundleCommand::Inspect { medium } => {
            context.operate(Operation::BundleInspect { medium: absolute(medium)? }, text::inspection)
        }
        BundleCommand::Import { medium, set } => {
            let operation = Operation::BundleImport { medium: absolute(medium)?, set: set.clone() };
            context.operate_judging(operation, text::imported, |report: &ImportedReport| {
                if report.refused.is_empty() { ExitStatus::Success } else { ExitStatus::Refused }
            })
        }
        BundleCommand::Receipt { receipt: None, .. } => context.operate(Operation::BundleReceipts, text::receipts),
        BundleCommand::Receipt { receipt: Some(receipt), out } => show_receipt(context, receipt, out.as_deref()),
    }
}

/// A set's id is hexadecimal, so whatever names a file that is there is one.
fn show_receipt(context: &Context, receipt: &str, out: Option<&Path>) -> Result<ExitStatus, Failure> {
    let path = Path::new(receipt);
    let operation = if path.is_file() {
        Operation::BundleReceiptRead { file: context.read_text(path, RECEIPT_BYTES_MAX)? }
    } else {
        Operation::BundleReceipt { set: receipt.to_owned() }
    };
    let report: ReceiptReport = context.report(operation)?;
    if let Some(out) = out {
        context.write_file(out, report.file.as_bytes())?;
    }
    context.output.result(&report, || text::receipt(&report.receipt))?;
    Ok(ExitStatus::Success)
}
