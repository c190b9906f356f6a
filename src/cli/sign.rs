//! `postern sign` and `postern attest`: what the site itself says of an image.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{Context, ExitStatus};
use crate::app::failure::Failure;
use crate::app::operation::Operation;
use crate::app::report::ImageReport;
use crate::app::signer::{Signer, SigningProgram};
use crate::app::site::{self, AttachOrder, AttachedReport, Predicate, SignOrder};
use crate::limits::{ATTESTATION_BYTES_MAX, PRIVATE_KEY_BYTES_MAX, PUBLIC_KEY_BYTES_MAX};
use crate::oci::name::{ImageReference, Reference};
use crate::sys::site_key::SiteKey;
use crate::verify::sigstore::compose;

/// With which key, where it is not the site's.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// Sign with this private key (PEM, ECDSA on P-256 or P-384) instead of the site's
    #[arg(long, value_name = "FILE", conflicts_with = "signer")]
    key: Option<PathBuf>,
    /// Let this program sign, as with a key in a token: it reads what is to be signed, whole, and writes the signature
    #[arg(long, value_name = "PROGRAM", requires = "public_key")]
    signer: Option<PathBuf>,
    /// The public key (PEM) of the program that signs; nothing else than its signatures is taken
    #[arg(long, value_name = "FILE", requires = "signer")]
    public_key: Option<PathBuf>,
}

impl KeyArguments {
    /// Whether another than the site's key is to sign.
    pub const fn is_given(&self) -> bool {
        self.key.is_some() || self.signer.is_some()
    }

    /// What signs, where it is not the site's key. It stays in this process.
    pub fn signer(&self, context: &Context) -> Result<Option<Signer>, Failure> {
        if let (Some(program), Some(file)) = (&self.signer, &self.public_key) {
            let pem = context.read_text(file, PUBLIC_KEY_BYTES_MAX)?;
            let program = SigningProgram::new(program, &pem)
                .map_err(|error| Failure::from(error).next(format!("name another file than '{}'", file.display())))?;
            return Ok(Some(Signer::Program(program)));
        }
        let Some(file) = &self.key else { return Ok(None) };
        let text = zeroize::Zeroizing::new(context.read_text(file, PRIVATE_KEY_BYTES_MAX)?);
        let key = SiteKey::from_pem(&text)
            .map_err(|error| Failure::from(error).next(format!("name another file than '{}'", file.display())))?;
        Ok(Some(Signer::Key(key)))
    }
}

/// Sign an image of the store with the site's key
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern sign registry.example/apps/web:2.1.0
  postern sign registry.example/apps/web:2.1.0 --key release.pem
  postern sign registry.example/apps/web:2.1.0 --signer ./sign-by-token --public-key token.pub

The signature is a Sigstore bundle beside the image, as cosign 3 writes it: `cosign verify --key`
checks it. The policy in force judges the image with the signature counted; where it refuses the
image all the same nothing is signed and the exit code is 3. The same key signs an image once:
again, nothing is done.")]
pub struct SignArguments {
    /// The image, as NAME:TAG or NAME@DIGEST
    pub image: ImageReference,
    #[command(flatten)]
    pub key: KeyArguments,
}

/// Attest something about an image of the store with the site's key
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern attest registry.example/apps/web:2.1.0 --predicate scan.json --type vuln
  postern attest apps/web:2.1.0 --predicate ours.json --type https://site.example/reviewed/v1

Types are URIs, or words for them: slsaprovenance, slsaprovenance02, slsaprovenance1, spdx,
spdxjson, cyclonedx, vuln, openvex, vsa. `cosign verify-attestation --key` checks it. Exit code 3
says that the policy refuses the image itself.")]
pub struct AttestArguments {
    /// The image, as NAME:TAG or NAME@DIGEST
    pub image: ImageReference,
    /// What is attested: a JSON file
    #[arg(long, value_name = "FILE")]
    pub predicate: PathBuf,
    /// Of which type it is
    #[arg(long = "type", value_name = "TYPE")]
    pub predicate_type: String,
    #[command(flatten)]
    pub key: KeyArguments,
}

/// Runs `postern sign`.
pub fn run(context: &Context, arguments: &SignArguments) -> Result<ExitStatus, Failure> {
    sign(context, &arguments.image, None, &arguments.key)
}

/// Runs `postern attest`.
pub fn run_attest(context: &Context, arguments: &AttestArguments) -> Result<ExitStatus, Failure> {
    let Some(predicate_type) = compose::predicate_type(&arguments.predicate_type) else {
        let mut names: Vec<&str> = compose::PREDICATE_NAMES.iter().map(|(name, _)| *name).collect();
        names.push("vsa");
        return Err(Failure::usage(format!("'{}' is no type of attestation", arguments.predicate_type))
            .next(format!("give a URI, or one of {}; `postern sign` makes a signature", names.join(", "))));
    };
    let bytes = context.read_file(&arguments.predicate, ATTESTATION_BYTES_MAX)?;
    let content: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(format!("'{}' is not JSON", arguments.predicate.display()))
            .because(&error)
            .next("give the predicate as JSON")
    })?;
    if content.get("predicateType").is_some() && content.get("subject").is_some() {
        let file = arguments.predicate.display();
        return Err(Failure::usage(format!(
            "'{file}' is a whole Statement, and what is attested is the predicate in it"
        ))
        .next(format!(
            "give the predicate alone: jq .predicate '{file}'; a summary is signed by `verify --vsa --sign`"
        )));
    }
    if !content.is_object() {
        return Err(Failure::usage(format!(
            "'{}' is no JSON object, and every predicate is one",
            arguments.predicate.display()
        ))
        .next("give what the type of the attestation describes"));
    }
    let predicate = Predicate { predicate_type: predicate_type.to_owned(), content };
    sign(context, &arguments.image, Some(predicate), &arguments.key)
}

fn sign(
    context: &Context,
    image: &ImageReference,
    predicate: Option<Predicate>,
    key: &KeyArguments,
) -> Result<ExitStatus, Failure> {
    let operation = match key.signer(context)? {
        None => Operation::Sign(SignOrder { reference: image.clone(), predicate }),
        Some(key) => {
            let shown: ImageReport = context.report(Operation::ImageShow { reference: image.clone() })?;
            let bundle = site::signed_bundle(&key, &site::statement(&shown.digest, predicate.as_ref()))?;
            let reference = ImageReference { reference: Reference::Digest(shown.digest), ..image.clone() };
            let bundle = String::from_utf8_lossy(&bundle).into_owned();
            Operation::Attach(AttachOrder { reference, bundle, public_key: key.public_pem() })
        }
    };
    context.operate(operation, |report: &AttachedReport| {
        let (image, key) = (format!("{}@{}", report.repository, report.digest), report.key);
        let said = match report.predicate_type.as_str() {
            crate::verify::statement::COSIGN_SIGNATURE => "signed".to_owned(),
            other => format!("attested ({other})"),
        };
        let before = if report.already_there { " before; nothing was done" } else { "" };
        format!("{image}\n  {said}{before}\n  by key {key}\n  in {}\n", report.attached)
    })
}
