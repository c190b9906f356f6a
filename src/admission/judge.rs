//! Judges an image as a whole: the root by the policy, its children through membership, and what speaks of them through
//! its digest.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::content::{Content, Reader};
use super::error::AdmissionError;
use super::gather::{self, Found};
use super::inspect::inspect;
use crate::access::Enforcement;
use crate::limits::INDEX_DEPTH_COUNT_MAX;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag;
use crate::verify::{Admitted, Denied, NotCovered, Question, Refusal, TrustPolicy, Verdict, evaluate};

/// What wants to come in. A tag was resolved to a digest once, before: that digest is judged and that digest enters.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name under which it is to be served here.
    pub repository: RepositoryName,
    /// The name that it is said to have had where it comes from.
    pub original: Option<RepositoryName>,
    pub root: Digest,
    /// Tags that are to point at it.
    pub tags: Vec<Tag>,
}

/// The outcome.
#[derive(Debug)]
pub enum Judgement {
    Admitted(Box<AdmittedImage>),
    Refused { refusal: Refusal, verdict: Arc<Verdict> },
}

/// An image that may come in, and all that comes with it.
#[derive(Debug)]
pub struct AdmittedImage {
    pub root: Admitted<Manifest>,
    /// Members of the root, deepest first. Those that the content does not hold are left out.
    pub children: Vec<Admitted<Manifest>>,
    /// What speaks of the root or a child, with the tag under which it stands.
    pub companions: Vec<(Option<Tag>, Admitted<Manifest>)>,
    /// What was found beside these and stays outside.
    pub not_carried: Vec<NotCovered>,
    pub verdict: Arc<Verdict>,
    pub(super) repository: RepositoryName,
    pub(super) tags: Vec<Tag>,
}

/// Judges `candidate` by `policy`, reading from `content`.
pub fn judge(
    policy: &TrustPolicy,
    candidate: &Candidate,
    content: &dyn Content,
    now: Timestamp,
) -> Result<Judgement, AdmissionError> {
    judge_for(Enforcement::Enforce, policy, candidate, content, now)
}

/// The same for a project: where it does not enforce, what a rule refuses is admitted, and the verdict says that it was
/// refused.
pub fn judge_for(
    enforcement: Enforcement,
    policy: &TrustPolicy,
    candidate: &Candidate,
    content: &dyn Content,
    now: Timestamp,
) -> Result<Judgement, AdmissionError> {
    if let Some(tag) = candidate.tags.iter().find(|tag| signature_tag::parse(tag).is_some()) {
        return Err(AdmissionError::ReservedTag(tag.clone()));
    }
    let mut reader = Reader::new(content);
    let (target, target_bytes) = reader.manifest(&candidate.root)?.ok_or(AdmissionError::Missing(candidate.root))?;
    let (about_root, verdict) = weigh(policy, candidate, (&target, &target_bytes), &mut reader, now)?;
    let admitted = match enforcement.enforces() {
        true => verdict.admit(target),
        false => verdict.admit_unenforced(target),
    };
    let root = match admitted {
        Ok(root) => root,
        Err(refusal) => return Ok(Judgement::Refused { refusal, verdict }),
    };
    let mut image = AdmittedImage {
        children: Vec::new(),
        companions: Vec::new(),
        not_carried: Vec::new(),
        verdict,
        repository: candidate.repository.clone(),
        tags: candidate.tags.clone(),
        root: root.clone(),
    };
    let denied_name = |digest: &Digest| policy.denied(&Denied::Digest(digest), now).is_some();
    image.take_companions(&root, about_root.manifests, &denied_name);
    let mut seen = BTreeSet::from([candidate.root]);
    let denied = |bytes: &[u8]| policy.refusal_of_denied(bytes, now).is_some();
    image.take_children(&mut reader, &root, 1, &mut seen, &denied)?;
    for child in image.children.clone() {
        let about_child = gather::find(&mut reader, &child.get().digest)?;
        image.take_companions(&child, about_child.manifests, &denied_name);
    }
    Ok(Judgement::Admitted(Box::new(image)))
}

/// Judges the root of `candidate`, which was read as `target`, and nothing that it would bring along. Gives what was found
/// about it too.
pub(super) fn weigh(
    policy: &TrustPolicy,
    candidate: &Candidate,
    (target, target_bytes): (&Manifest, &[u8]),
    reader: &mut Reader<'_>,
    now: Timestamp,
) -> Result<(Found, Arc<Verdict>), AdmissionError> {
    let about = gather::find(reader, &candidate.root)?;
    let mut evidence = about.read_evidence(reader)?;
    gather::read_unsigned(reader, target, &mut evidence)?;
    let wanted = policy.content_wanted(&candidate.repository, candidate.original.as_ref());
    let images = match &wanted {
        Some(wanted) => inspect(reader.content(), target, wanted)?,
        None => Vec::new(),
    };
    let question = Question {
        local: &candidate.repository,
        original: candidate.original.as_ref(),
        tags: &candidate.tags,
        target,
        target_bytes,
        images: &images,
    };
    Ok((about, Arc::new(evaluate(policy, &question, &evidence, now))))
}

impl AdmittedImage {
    fn take_children(
        &mut self,
        reader: &mut Reader<'_>,
        parent: &Admitted<Manifest>,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
        denied: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), AdmissionError> {
        let members = parent.get().edges().filter(|edge| edge.kind == EdgeKind::Manifest);
        for digest in members.map(|edge| edge.digest) {
            if !seen.insert(digest) {
                continue;
            }
            if depth == INDEX_DEPTH_COUNT_MAX {
                return Err(AdmissionError::TooDeep);
            }
            let Some((manifest, bytes)) = reader.manifest(&digest)? else { continue };
            // The index stays: another of its platforms is another image.
            if denied(&bytes) {
                self.not_carried.push(NotCovered::Denied(digest));
                continue;
            }
            let child = parent.child(manifest)?;
            self.take_children(reader, &child, depth + 1, seen, denied)?;
            self.children.push(child);
        }
        Ok(())
    }

    /// Takes what really speaks of `subject`; the rest is noted and stays outside.
    fn take_companions(
        &mut self,
        subject: &Admitted<Manifest>,
        found: Vec<(Option<Tag>, Manifest)>,
        denied: &dyn Fn(&Digest) -> bool,
    ) {
        for (tag, manifest) in found {
            if denied(&manifest.digest) {
                self.not_carried.push(NotCovered::Denied(manifest.digest));
                continue;
            }
            match subject.companion(manifest, tag.as_ref()) {
                Ok(companion) => self.companions.push((tag, companion)),
                Err(reason) => self.not_carried.push(reason),
            }
        }
    }
}
