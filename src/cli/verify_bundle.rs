//! `postern verify-bundle`: a file and a Sigstore bundle, as conformance suites ask.

use std::path::PathBuf;

use clap::Args;

use super::{Context, ExitStatus};
use crate::app::artifacts::{self, ArtifactOrder, Signer, What};
use crate::app::failure::Failure;
use crate::oci::digest::Digest;

/// Verify a file by a Sigstore bundle, offline: signed by a key, or by an identity that a trusted root vouches for
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern verify-bundle --bundle app.json --key release.pub app.tar

Identity and issuer match whole, and * in them stands for any text. Exit code 3 says that it is
not so signed.")]
pub struct VerifyBundleArguments {
    /// The bundle, of version 0.1, 0.2 or 0.3
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Who must have signed: the certificate's only subject
    #[arg(long, value_name = "SUBJECT", required_unless_present = "key", requires = "certificate_oidc_issuer")]
    pub certificate_identity: Option<String>,
    /// Who must vouch for it
    #[arg(long, value_name = "ISSUER", requires = "certificate_identity")]
    pub certificate_oidc_issuer: Option<String>,
    /// The public key that must have signed
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_identity")]
    pub key: Option<PathBuf>,
    /// The trusted root, instead of the public-good instance's that this release brings
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// What must be signed: a file, or a digest as sha256:…
    #[arg(value_name = "FILE_OR_DIGEST")]
    pub artifact: String,
}

/// Runs it.
pub fn run(context: &Context, arguments: &VerifyBundleArguments) -> Result<ExitStatus, Failure> {
    let what = match arguments.artifact.parse::<Digest>() {
        Ok(digest) => What::Digest(digest),
        Err(_) => What::File(PathBuf::from(&arguments.artifact)),
    };
    let signer = match (&arguments.key, &arguments.certificate_identity, &arguments.certificate_oidc_issuer) {
        (Some(key), ..) => Signer::Key(key.clone()),
        (None, Some(subject), Some(issuer)) => {
            Signer::Identity { subject: subject.clone(), issuer: issuer.clone(), root: arguments.trusted_root.clone() }
        }
        _ => return Err(Failure::usage("nobody is named who must have signed").next("give --key or an identity")),
    };
    let report = artifacts::verify(&ArtifactOrder { bundle: arguments.bundle.clone(), what, signer })?;
    context.output.result(&report, || match (&report.verified, &report.reason) {
        (true, _) => "verified\n".to_owned(),
        (false, reason) => format!("not verified: {}\n", reason.as_deref().unwrap_or_default()),
    })?;
    Ok(if report.verified { ExitStatus::Success } else { ExitStatus::Refused })
}
