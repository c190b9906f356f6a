//! `postern verify`: what a policy says of an image, and why.

use std::path::PathBuf;

use clap::Args;

use super::context::absolute;
use super::{Context, ExitStatus, sign, verdict};
use crate::app::failure::Failure;
use crate::app::operation::{Operation, OutsidePlace};
use crate::app::report::JudgementReport;
use crate::app::site::{self, SignedSummary};
use crate::app::verify as verification;
use crate::limits::POLICY_BYTES_MAX;
use crate::oci::name::ImageReference;

/// Verify an image by the trust policy: in the store, or before it comes in where it is now
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern verify registry.example/apps/web:2.1.0 --explain
  postern verify registry.example/apps/web:2.1.0 --layout ./web.oci --policy trust.toml
  postern verify registry.example/apps/web:2.1.0 --bundle /media/stick
  postern verify registry.example/apps/web:2.1.0 --upstream
  postern verify registry.example/apps/web:2.1.0 --vsa --sign > web.vsa.json

Nothing is changed, and without --upstream nothing is asked of any network. Exit code 3 says that
the image is refused.")]
pub struct VerifyArguments {
    /// The image, as NAME:TAG or NAME@DIGEST; with --layout the name under which it would come in
    pub image: ImageReference,
    /// Look in this image layout instead of in the store
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<PathBuf>,
    /// Name of the image in the layout, where it holds several
    #[arg(long, requires = "layout")]
    pub name: Option<String>,
    /// Look in the transfer bundle on the medium that is mounted here
    #[arg(long, value_name = "MEDIUM", conflicts_with = "layout")]
    pub bundle: Option<PathBuf>,
    /// The set, or the beginning of its id, where a medium holds several
    #[arg(long, requires = "bundle")]
    pub set: Option<String>,
    /// Look at the upstream that the name begins with; it is asked, and nothing is stored
    #[arg(long, conflicts_with_all = ["layout", "bundle"])]
    pub upstream: bool,
    /// Judge by this policy instead of the one in force
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Show every rule and every check, passed or not
    #[arg(long, conflicts_with = "vsa")]
    pub explain: bool,
    /// Print a verification summary (in-toto Statement with SLSA's predicate) to be signed
    #[arg(long)]
    pub vsa: bool,
    /// Sign the summary with the site's key, and print it as a Sigstore bundle
    #[arg(long, requires = "vsa")]
    pub sign: bool,
    #[command(flatten)]
    pub key: sign::KeyArguments,
}

impl VerifyArguments {
    fn outside(&self) -> Result<Option<OutsidePlace>, Failure> {
        let Some(medium) = &self.bundle else { return Ok(self.upstream.then_some(OutsidePlace::Upstream)) };
        // A server would look for a relative path from where it was started.
        let medium = absolute(medium)?;
        Ok(Some(OutsidePlace::Bundle { medium, set: self.set.clone() }))
    }
}

/// Runs it.
pub fn run(context: &Context, arguments: &VerifyArguments) -> Result<ExitStatus, Failure> {
    if arguments.key.is_given() && !arguments.sign {
        return Err(
            Failure::usage("a key signs nothing here without --sign").next("add --vsa --sign, or leave the key out")
        );
    }
    let policy = match &arguments.policy {
        Some(file) => Some(context.read_text(file, POLICY_BYTES_MAX)?),
        None => None,
    };
    if arguments.sign && !arguments.key.is_given() {
        return sign_by_the_site(context, arguments, policy);
    }
    let judgement: JudgementReport = match (&arguments.layout, arguments.outside()?) {
        (Some(layout), _) => {
            let text = match policy {
                Some(text) => text,
                None => context.policy_in_force()?,
            };
            let policy = context.parse_policy(&text)??;
            verification::layout(layout, arguments.name.as_deref(), &arguments.image, None, &policy)?
        }
        (None, Some(place)) => {
            context.report(Operation::VerifyOutside { reference: arguments.image.clone(), place, policy })?
        }
        (None, None) => {
            let reference = arguments.image.clone();
            context.report(Operation::PolicyTest { reference, policy, local: None, original: None })?
        }
    };
    if let Some(signer) = arguments.key.signer(context)? {
        return print_signed(context, &site::signed_summary(&signer, &judgement)?);
    }
    if arguments.vsa {
        let summary = verification::required_summary(&judgement)?;
        context.output.result(&summary, || format!("{summary:#}\n"))?;
    } else {
        context.output.result(&judgement, || match arguments.explain {
            true => verdict::text(&judgement),
            false => verdict::line(&judgement),
        })?;
    }
    Ok(if judgement.admitted { ExitStatus::Success } else { ExitStatus::Refused })
}

/// The site's key is where the images are: what it signs is judged there.
fn sign_by_the_site(
    context: &Context,
    arguments: &VerifyArguments,
    policy: Option<String>,
) -> Result<ExitStatus, Failure> {
    if arguments.layout.is_some() || arguments.bundle.is_some() || arguments.upstream {
        return Err(Failure::usage("the site's key signs only about images that are in the store")
            .next("bring the image in first, or sign with a key of your own: --sign --key FILE"));
    }
    let operation = Operation::SignSummary { reference: arguments.image.clone(), policy };
    print_signed(context, &context.report(operation)?)
}

fn print_signed(context: &Context, signed: &SignedSummary) -> Result<ExitStatus, Failure> {
    context.output.result(&signed.bundle, || format!("{:#}\n", signed.bundle))?;
    Ok(if signed.admitted { ExitStatus::Success } else { ExitStatus::Refused })
}
