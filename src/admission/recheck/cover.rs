//! What a manifest that is here stands on today: the policy by itself, an index that lists it, or an image that it
//! speaks of.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;

use super::kept::{Capacity, Outcome, Refused};
use super::revoked::Revoked;
use crate::admission::content::{Allowance, Content, ContentError, Reader, Stream};
use crate::admission::error::AdmissionError;
use crate::admission::judge::weigh;
use crate::admission::layer::begins_an_archive;
use crate::admission::stored::Stored;
use crate::limits::{BODY_CHUNK_BYTES, COVERING_COUNT_MAX, INDEX_DEPTH_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::oci::name::{RepositoryName, Tag};
use crate::oci::signature_tag;
use crate::store::{Store, StoreError};
use crate::verify::{Refusal, TrustPolicy, check_companion, has_artifact_config, rule_names};

/// As much of a layer as says whether an archive begins there.
const LAYER_HEAD_BYTES: u64 = 512;
/// Parents that are read at once.
const STEP_COUNT: usize = 16;

/// One repository under one policy at one time.
pub(super) struct Judge<'a> {
    pub store: &'a Store,
    pub repository: &'a RepositoryName,
    pub policy: &'a TrustPolicy,
    pub revoked: &'a Revoked,
    pub now: Timestamp,
    /// What may be read of one image.
    pub bytes_max: Option<usize>,
    /// What is known of another manifest already.
    pub known: &'a dyn Fn(&Digest) -> Option<Outcome>,
    /// What was found to be an image on the way.
    pub images: HashMap<Digest, Outcome>,
}

impl Judge<'_> {
    /// Judges a manifest of the repository.
    pub fn judge(&mut self, digest: &Digest) -> Result<Outcome, AdmissionError> {
        let (manifest, as_image) = self.as_image(digest, 0)?;
        match (as_image, manifest) {
            // What the deny list names is nothing that speaks of an image either.
            (Err(refused), Some(_)) if refused.refusal.rule == rule_names::DENY_LIST => Ok(Err(refused)),
            (Err(refused), Some(manifest)) => self.as_companion(&manifest, refused),
            (outcome, _) => Ok(outcome),
        }
    }

    /// As an image: by itself, or through an index. Gives the manifest where it had to be read.
    fn as_image(&mut self, digest: &Digest, depth: usize) -> Result<(Option<Manifest>, Outcome), AdmissionError> {
        if let Some(outcome) = self.images.get(digest) {
            return Ok((None, outcome.clone()));
        }
        if depth > 0
            && let Some(outcome) = (self.known)(digest)
        {
            return Ok((None, outcome));
        }
        let content = Here {
            stored: Stored { store: self.store, repository: self.repository },
            allowance: Allowance::of(self.bytes_max),
        };
        let mut reader = Reader::new(&content);
        let (manifest, bytes) = reader.manifest(digest)?.ok_or(AdmissionError::Missing(*digest))?;
        let outcome = self.read_as_image(&manifest, &bytes, &mut reader, depth)?;
        self.images.insert(*digest, outcome.clone());
        Ok((Some(manifest), outcome))
    }

    fn read_as_image(
        &mut self,
        manifest: &Manifest,
        bytes: &[u8],
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Outcome, AdmissionError> {
        if let Some(refusal) = self.policy.refusal_of_denied(bytes, self.now) {
            return Ok(self.refused(refusal, 0));
        }
        let by_index = if depth < INDEX_DEPTH_COUNT_MAX { self.by_index(&manifest.digest, depth)? } else { None };
        if let Some(Ok(capacity)) = by_index {
            return Ok(Ok(capacity));
        }
        // No index that is in good standing lists it: what was denied with its index stays denied.
        if let Some(refusal) = self.revoked.refusal(bytes) {
            return Ok(self.refused(refusal.clone(), 0));
        }
        let stored = Stored { store: self.store, repository: self.repository };
        let candidate = stored.candidate(manifest.digest).map_err(|error| unread(manifest, error))?;
        let (_, verdict) = weigh(self.policy, &candidate, (manifest, bytes), reader, self.now)?;
        Ok(match (verdict.refusal(), by_index) {
            (None, _) => Ok(Capacity::Image),
            // Why its index is refused says more than that nobody signed a part of it.
            (Some(_), Some(of_index)) => of_index,
            (Some(refusal), None) => self.refused(refusal, verdict.evidence_digests().len()),
        })
    }

    fn refused(&self, refusal: Refusal, evidence_count: usize) -> Outcome {
        Err(Arc::new(Refused { refusal, evidence_count, judged_at: self.now }))
    }

    /// Through an index here that lists it; `None` where there is none.
    fn by_index(&mut self, digest: &Digest, depth: usize) -> Result<Option<Outcome>, AdmissionError> {
        let (mut after, mut last) = (None, None);
        for _ in 0..COVERING_COUNT_MAX / STEP_COUNT {
            let page = self.store.parents_page(self.repository, digest, after.as_ref(), STEP_COUNT);
            let page = page.map_err(|error| AdmissionError::unread(digest, error.into()))?;
            for (index, kind) in &page {
                // Whatever else points at it, as at a layer, lists no platform: what came with the index as that was not looked into.
                if *kind != EdgeKind::Manifest {
                    continue;
                }
                let record = self.store.manifest(self.repository, index);
                let record = record.map_err(|error| AdmissionError::unread(index, error.into()))?;
                if !record.is_some_and(|record| media_type::is_index(&record.media_type)) {
                    continue;
                }
                match self.as_image(index, depth + 1) {
                    Ok((_, Ok(Capacity::Image))) => return Ok(Some(Ok(Capacity::Image))),
                    Ok((_, Err(refused))) => last = Some(Err(refused)),
                    // A list of what speaks of an image covers nothing, and one whose bytes are lost neither.
                    Ok((_, Ok(Capacity::Companion))) | Err(AdmissionError::Missing(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.last().filter(|_| page.len() == STEP_COUNT) {
                Some((digest, _)) => after = Some(*digest),
                None => break,
            }
        }
        Ok(last)
    }

    /// As something said about an image that is served. Where that is refused, so is what is said, for the same reason.
    fn as_companion(&mut self, manifest: &Manifest, refused: Arc<Refused>) -> Result<Outcome, AdmissionError> {
        let mut refused = refused;
        if !self.holds_documents(manifest)? {
            return Ok(Err(refused));
        }
        for (tag, subject) in self.subjects(manifest)? {
            let is_here = self.store.manifest(self.repository, &subject).map_err(|error| unread(manifest, error))?;
            if is_here.is_none() || check_companion(manifest, tag.as_ref(), &subject).is_err() {
                continue;
            }
            match self.as_image(&subject, 1) {
                Ok((_, Ok(Capacity::Image))) => return Ok(Ok(Capacity::Companion)),
                Ok((_, Err(of_image))) => refused = of_image,
                Ok((_, Ok(Capacity::Companion))) | Err(AdmissionError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Err(refused))
    }

    /// Under a config that may be an image's, what is called a document must be one: a runtime that looks at the bytes and not at
    /// the type would unpack it. So it must be a text that does not begin as an archive.
    fn holds_documents(&self, manifest: &Manifest) -> Result<bool, AdmissionError> {
        if manifest.is_index() || has_artifact_config(manifest) {
            return Ok(true);
        }
        let stored = Stored { store: self.store, repository: self.repository };
        for layer in &manifest.parts {
            let unread = |error: ContentError| AdmissionError::unread(&layer.digest, error);
            // A mirror fetches an SBOM that is longer than evidence when somebody asks for it. What is not here yet is looked at
            // when it is.
            if let Some(bytes) = stored.open(&layer.digest).map_err(unread)?
                && !is_document(bytes).map_err(|error| unread(error.into()))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn subjects(&self, manifest: &Manifest) -> Result<Vec<(Option<Tag>, Digest)>, AdmissionError> {
        let tags = self.store.tags_of(self.repository, &manifest.digest, COVERING_COUNT_MAX);
        let tags = tags.map_err(|error| unread(manifest, error))?;
        let named = manifest.subject.iter().map(|subject| (None, subject.digest));
        let tagged = tags.into_iter().filter_map(|tag| {
            let (subject, _) = signature_tag::parse(&tag)?;
            Some((Some(tag), subject))
        });
        Ok(named.chain(tagged).filter(|(_, subject)| *subject != manifest.digest).collect())
    }
}

fn unread(manifest: &Manifest, error: StoreError) -> AdmissionError {
    AdmissionError::unread(&manifest.digest, error.into())
}

/// Whether it is a text, and no archive at the same time: one can be written in letters alone.
fn is_document(mut bytes: impl Read) -> std::io::Result<bool> {
    let mut head = Vec::new();
    bytes.by_ref().take(LAYER_HEAD_BYTES).read_to_end(&mut head)?;
    Ok(!begins_an_archive(&head) && is_text(head.as_slice().chain(bytes))?)
}

/// Whether all of it is UTF-8 without a NUL.
fn is_text(mut bytes: impl Read) -> std::io::Result<bool> {
    let (mut buffer, mut kept) = (vec![0; BODY_CHUNK_BYTES], 0);
    loop {
        let count = bytes.read(&mut buffer[kept..])?;
        let here = &buffer[..kept + count];
        if here.contains(&0) {
            return Ok(false);
        }
        let valid_bytes = match std::str::from_utf8(here) {
            Ok(text) => text.len(),
            // A letter that goes on in the next piece.
            Err(error) if error.error_len().is_none() && count > 0 => error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if count == 0 {
            return Ok(true);
        }
        let end = kept + count;
        buffer.copy_within(valid_bytes..end, 0);
        kept = end - valid_bytes;
    }
}

/// What a repository holds, as far as memory goes.
struct Here<'a> {
    stored: Stored<'a>,
    allowance: Allowance,
}

impl Content for Here<'_> {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let Some((media_type, bytes)) = self.stored.manifest_by_digest(digest)? else { return Ok(None) };
        Ok(self.allowance.take(Some(bytes))?.map(|bytes| (media_type, bytes)))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        self.stored.tag(tag)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        self.stored.referrers(subject)
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        self.stored.open(digest)
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        self.allowance.take(self.stored.blob(digest, limit_bytes)?)
    }
}
