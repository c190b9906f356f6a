//! Everything that an image needs to be complete somewhere else: its manifests, their content, and what speaks of them.
//!
//! Reads the store and decides nothing: what is missing is listed, not fetched.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::format::table::{Companion, Image};
use crate::limits::{
    EVIDENCE_MANIFESTS_COUNT_MAX, INDEX_DEPTH_COUNT_MAX, MANIFEST_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, MIB,
};
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::Digest;
use crate::oci::manifest::{Manifest, ManifestError};
use crate::oci::media_type;
use crate::oci::name::{ImageReference, Reference, RepositoryName, Tag};
use crate::oci::signature_tag::{KINDS, SignatureTagKind};
use crate::store::{BlobError, Store, StoreError};

/// Annotation by which BuildKit's attestation manifests name the manifest that they speak of.
const BUILDKIT_REFERENCE: &str = "vnd.docker.reference.digest";
/// Annotation and value by which cosign tells a signature from an attestation.
const BUNDLE_PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const BUNDLE_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// All that must travel.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    pub images: Vec<Image>,
    /// In the order of `images`.
    pub evidence: Vec<EvidenceCounts>,
    pub needs: BTreeMap<Digest, Need>,
    pub missing: Vec<Missing>,
    /// Non-distributable layers that are not here: their images travel without them.
    pub elsewhere: Vec<Missing>,
}

/// Content that must travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub size_bytes: u64,
    /// The media type of a manifest.
    pub manifest: Option<String>,
}

/// How many manifests say something about an image, by what they seem to be. Nothing is verified here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceCounts {
    pub signatures: usize,
    pub attestations: usize,
    pub other: usize,
}

/// Content that an image needs and that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub image: ImageReference,
    pub digest: Digest,
}

/// Why the closure of an image cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    #[error("'{0}' is not here: fetch it with 'postern mirror fetch {0}'")]
    Unknown(ImageReference),
    #[error("'{image}' has none of the platforms {platforms:?}: 'postern image show {image}' lists those that it has")]
    NoPlatform { image: ImageReference, platforms: Vec<String> },
    #[error("'{digest}' of '{image}' is not a manifest that can be read: fetch the image again")]
    Manifest {
        image: ImageReference,
        digest: Digest,
        #[source]
        source: ManifestError,
    },
    #[error("'{image}' nests more than {INDEX_DEPTH_COUNT_MAX} indexes")]
    TooDeep { image: ImageReference },
    #[error("more than {EVIDENCE_MANIFESTS_COUNT_MAX} manifests speak of '{subject}'")]
    TooMuchEvidence { subject: Digest },
    #[error("content of the store cannot be read")]
    Blob(#[from] BlobError),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

impl Closure {
    /// Collects what `references` need. With `platforms`, only these of every index are taken, and the index keeps its
    /// digest.
    pub fn collect(
        store: &Store,
        references: &[ImageReference],
        platforms: Option<&[String]>,
    ) -> Result<Self, ClosureError> {
        let mut closure = Self::default();
        for reference in references {
            let gathered = Gather::new(store, reference, platforms, &mut closure).image()?;
            closure.add(gathered);
        }
        closure.keep_apart();
        Ok(closure)
    }

    /// What travels for one image would be linked to every image of the set that names it, and knowing a digest opens
    /// nothing: a layer that is not here for one image and here for another holds the set up.
    fn keep_apart(&mut self) {
        let needs = &self.needs;
        let (beside, elsewhere) =
            std::mem::take(&mut self.elsewhere).into_iter().partition(|layer| needs.contains_key(&layer.digest));
        self.elsewhere = elsewhere;
        self.missing.extend::<Vec<_>>(beside);
    }

    /// Two references to one image become one image with both tags.
    fn add(&mut self, (image, counts): (Image, EvidenceCounts)) {
        let same = |other: &&mut Image| other.repository == image.repository && other.digest == image.digest;
        match self.images.iter_mut().find(same) {
            None => {
                self.images.push(image);
                self.evidence.push(counts);
            }
            Some(there) => {
                let tags: BTreeSet<Tag> = there.tags.drain(..).chain(image.tags).collect();
                there.tags = tags.into_iter().collect();
            }
        }
    }

    /// Bytes of all content, each counted once.
    pub fn content_bytes(&self) -> u64 {
        self.needs.values().map(|need| need.size_bytes).sum()
    }
}

struct Gather<'a> {
    store: &'a Store,
    reference: &'a ImageReference,
    wanted: Option<&'a [String]>,
    closure: &'a mut Closure,
    platforms: BTreeSet<String>,
    companions: BTreeSet<Companion>,
    counts: EvidenceCounts,
}

impl<'a> Gather<'a> {
    fn new(
        store: &'a Store,
        reference: &'a ImageReference,
        wanted: Option<&'a [String]>,
        closure: &'a mut Closure,
    ) -> Self {
        let (platforms, companions) = (BTreeSet::new(), BTreeSet::new());
        Self { store, reference, wanted, closure, platforms, companions, counts: EvidenceCounts::default() }
    }

    fn repository(&self) -> &'a RepositoryName {
        &self.reference.repository
    }

    fn image(mut self) -> Result<(Image, EvidenceCounts), ClosureError> {
        let unknown = || ClosureError::Unknown(self.reference.clone());
        let (digest, tags) = match &self.reference.reference {
            Reference::Digest(digest) => (*digest, Vec::new()),
            Reference::Tag(tag) => {
                (self.store.resolve(self.repository(), tag)?.ok_or_else(unknown)?, vec![tag.clone()])
            }
        };
        let record = self.store.manifest(self.repository(), &digest)?.ok_or_else(unknown)?;
        let original = record.origin.and_then(|origin| origin.parse().ok());
        self.manifest(&digest, 0, true)?;
        if self.wanted.is_some() && self.platforms.is_empty() {
            let platforms = self.wanted.unwrap_or_default().to_vec();
            return Err(ClosureError::NoPlatform { image: self.reference.clone(), platforms });
        }
        let image = Image {
            repository: self.repository().clone(),
            digest,
            original: original.unwrap_or_else(|| self.repository().clone()),
            tags,
            platforms: self.platforms.into_iter().collect(),
            companions: self.companions.into_iter().collect(),
        };
        Ok((image, self.counts))
    }

    fn missing(&mut self, digest: &Digest) {
        let missing = Missing { image: self.reference.clone(), digest: *digest };
        if !self.closure.missing.contains(&missing) {
            self.closure.missing.push(missing);
        }
    }

    /// Takes in a manifest and what it points at; `None` where it is not here.
    fn manifest(&mut self, digest: &Digest, depth: usize, speaks: bool) -> Result<Option<Manifest>, ClosureError> {
        if depth > INDEX_DEPTH_COUNT_MAX {
            return Err(ClosureError::TooDeep { image: self.reference.clone() });
        }
        let Some(record) = self.store.manifest(self.repository(), digest)? else {
            self.missing(digest);
            return Ok(None);
        };
        let Some(bytes) = self.store.blobs().read(digest, MANIFEST_BYTES_MAX)? else {
            self.missing(digest);
            return Ok(None);
        };
        let manifest = Manifest::parse_with(&bytes, &record.media_type, digest.algorithm())
            .map_err(|source| ClosureError::Manifest { image: self.reference.clone(), digest: *digest, source })?;
        let need = Need { size_bytes: manifest.size, manifest: Some(manifest.media_type.clone()) };
        self.closure.needs.insert(*digest, need);
        if speaks {
            self.companions_of(digest)?;
        }
        for part in self.parts(&manifest) {
            if manifest.is_index() && media_type::is_manifest(&part.media_type) {
                self.manifest(&part.digest, depth + 1, speaks)?;
            } else {
                self.blob(&part)?;
            }
        }
        self.note_platforms(&manifest, speaks)?;
        Ok(Some(manifest))
    }

    /// What of a manifest travels: everything, but of an index only the platforms asked for and what BuildKit says of them.
    fn parts(&self, manifest: &Manifest) -> Vec<Descriptor> {
        let all = manifest.config.iter().chain(&manifest.parts);
        let Some(wanted) = self.wanted.filter(|_| manifest.is_index()) else { return all.cloned().collect() };
        let chosen: BTreeSet<String> = manifest
            .parts
            .iter()
            .filter(|part| part.platform.as_ref().is_some_and(|platform| matches_any(platform, wanted)))
            .map(|part| part.digest.to_string())
            .collect();
        let travels = |part: &&Descriptor| {
            let about = part.annotations.get(BUILDKIT_REFERENCE);
            let no_platform = part.platform.is_none() && media_type::is_index(&part.media_type);
            chosen.contains(&part.digest.to_string())
                || about.is_some_and(|about| chosen.contains(about))
                || no_platform
        };
        all.filter(travels).cloned().collect()
    }

    fn blob(&mut self, part: &Descriptor) -> Result<(), ClosureError> {
        let present = self.store.blob_link(self.repository(), &part.digest)?.is_some_and(|link| link.present)
            && self.store.blobs().stat(&part.digest)? == Some(part.size);
        if present {
            let need = Need { size_bytes: part.size, manifest: None };
            self.closure.needs.entry(part.digest).or_insert(need);
        } else if media_type::is_non_distributable(&part.media_type) {
            let layer = Missing { image: self.reference.clone(), digest: part.digest };
            if !self.closure.elsewhere.contains(&layer) {
                self.closure.elsewhere.push(layer);
            }
        } else {
            self.missing(&part.digest);
        }
        Ok(())
    }

    /// Referrers, and manifests under the tags that clients make out of a digest.
    fn companions_of(&mut self, subject: &Digest) -> Result<(), ClosureError> {
        let mut found: Vec<(Digest, Option<Tag>)> =
            self.store.referrers(self.repository(), subject)?.into_iter().map(|record| (record.digest, None)).collect();
        for kind in KINDS {
            let tag = kind.tag_for(subject);
            if let Some(digest) = self.store.resolve(self.repository(), &tag)? {
                self.count_tagged(kind);
                found.push((digest, Some(tag)));
            }
        }
        if found.len() > EVIDENCE_MANIFESTS_COUNT_MAX {
            return Err(ClosureError::TooMuchEvidence { subject: *subject });
        }
        for (digest, tag) in found {
            let companion = Companion { subject: *subject, digest, tag };
            if self.companions.contains(&companion) {
                continue;
            }
            // A list of referrers travels as it is; those of its entries that are here are referrers themselves.
            let taken = if companion.tag.as_ref() == Some(&SignatureTagKind::ReferrersFallback.tag_for(subject)) {
                self.list_of_referrers(&digest)?
            } else {
                self.manifest(&digest, 1, false)?
            };
            if let Some(manifest) = taken {
                if companion.tag.is_none() {
                    self.count_referrer(&manifest);
                }
                self.companions.insert(companion);
            }
        }
        Ok(())
    }

    fn list_of_referrers(&mut self, digest: &Digest) -> Result<Option<Manifest>, ClosureError> {
        let Some(record) = self.store.manifest(self.repository(), digest)? else { return Ok(None) };
        let Some(bytes) = self.store.blobs().read(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse_with(&bytes, &record.media_type, digest.algorithm()) else {
            return Ok(None);
        };
        let need = Need { size_bytes: manifest.size, manifest: Some(manifest.media_type.clone()) };
        self.closure.needs.insert(*digest, need);
        Ok(Some(manifest))
    }

    fn count_tagged(&mut self, kind: SignatureTagKind) {
        match kind {
            SignatureTagKind::Signature => self.counts.signatures += 1,
            SignatureTagKind::Attestation => self.counts.attestations += 1,
            SignatureTagKind::Sbom => self.counts.other += 1,
            SignatureTagKind::ReferrersFallback => {}
        }
    }

    fn count_referrer(&mut self, manifest: &Manifest) {
        let kind = manifest.artifact_type.as_deref().unwrap_or_default();
        let layer = manifest.parts.first().map_or("", |layer| layer.media_type.as_str());
        if !kind.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX)
            && !layer.starts_with(media_type::SIGSTORE_BUNDLE_PREFIX)
        {
            self.counts.other += 1;
        } else if manifest.annotations.get(BUNDLE_PREDICATE).is_some_and(|predicate| predicate == BUNDLE_SIGNATURE) {
            self.counts.signatures += 1;
        } else {
            self.counts.attestations += 1;
        }
    }

    /// Platforms stand in an index, or in the config of an image without one.
    fn note_platforms(&mut self, manifest: &Manifest, speaks: bool) -> Result<(), ClosureError> {
        if !speaks {
            return Ok(());
        }
        if manifest.is_index() {
            let named = self.parts(manifest).into_iter().filter_map(|part| part.platform);
            self.platforms.extend(named.filter_map(|platform| shown(&platform)));
            return Ok(());
        }
        let Some(config) = &manifest.config else { return Ok(()) };
        let Ok(Some(bytes)) = self.store.blobs().read(&config.digest, MIB) else { return Ok(()) };
        let platform = serde_json::from_slice::<Platform>(&bytes).ok();
        self.platforms.extend(platform.as_ref().and_then(shown));
        Ok(())
    }
}

/// A platform's name; none for BuildKit's `unknown/unknown` and for what is no name.
fn shown(platform: &Platform) -> Option<String> {
    let name = platform.to_string();
    let good = !platform.os.is_empty() && platform.os != "unknown" && name.len() <= MEDIA_TYPE_BYTES_MAX;
    (good && name.chars().all(|letter| letter.is_ascii_graphic())).then_some(name)
}

/// `linux/arm64` also asks for its variants.
fn matches_any(platform: &Platform, wanted: &[String]) -> bool {
    let name = platform.to_string();
    wanted.iter().any(|wanted| name == *wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::matches_any;
    use crate::oci::descriptor::Platform;

    #[test]
    fn a_platform_covers_its_variants() {
        let check = |variant: Option<&str>, wanted: &str, expected: bool| {
            let platform = Platform {
                architecture: "arm".into(),
                os: "linux".into(),
                variant: variant.map(str::to_owned),
                os_version: None,
            };
            assert_eq!(matches_any(&platform, &[wanted.to_owned()]), expected, "{wanted}");
        };
        check(Some("v7"), "linux/arm/v7", true);
        check(Some("v7"), "linux/arm", true);
        check(Some("v7"), "linux/arm/v6", false);
        check(None, "linux/arm64", false);
        check(None, "linux/arm", true);
    }
}
