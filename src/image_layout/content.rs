//! An image layout as the gate reads it: what is there, under which names, and what speaks of what.
//!
//! A layout says less than a registry. Media types are taken from the descriptors that lead to a manifest, and from the
//! manifest itself; cosign keeps its older signatures under an annotation instead of a tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{INDEX, Layout, LayoutError, REF_NAME, blob_path};
use crate::admission::{Bytes, Content, ContentError, Stream};
use crate::limits::{EVIDENCE_MANIFESTS_COUNT_MAX, MANIFEST_BYTES_MAX};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use crate::oci::name::Tag;
use crate::oci::signature_tag::SignatureTagKind;
use crate::sys::dir::{Dir, read_bounded};

/// How cosign marks what it saves.
const KIND: &str = "kind";
const KINDS: [(&str, SignatureTagKind); 2] = [
    ("dev.cosignproject.cosign/sigs", SignatureTagKind::Signature),
    ("dev.cosignproject.cosign/atts", SignatureTagKind::Attestation),
];

/// A layout, read for one image.
pub struct LayoutContent {
    dir: Arc<dyn Dir>,
    listed: Vec<Descriptor>,
    tags: BTreeMap<String, Digest>,
    root: Digest,
}

impl LayoutContent {
    /// The layout in `dir`, and the image in it that is called `name`; without a name there must be just one.
    pub fn open(dir: Arc<dyn Dir>, name: Option<&str>) -> Result<Self, LayoutError> {
        let layout = Layout::open(Arc::clone(&dir))?;
        let index = read_bounded(dir.as_ref(), INDEX, MANIFEST_BYTES_MAX)?;
        let listed = Manifest::parse(&index, OCI_INDEX).map_err(LayoutError::Index)?.parts;
        // What cosign has marked as said about an image is none; beyond that it is as for a push.
        let is_image = |part: &&Descriptor| {
            !KINDS.iter().any(|(kind, _)| part.annotations.get(KIND).is_some_and(|found| found == kind))
        };
        let mut images = listed
            .iter()
            .filter(is_image)
            .filter(|part| name.is_none_or(|name| part.annotations.get(REF_NAME).is_some_and(|found| found == name)));
        let root = match (images.next(), images.next()) {
            (Some(only), None) => only.digest,
            _ => layout.plan(name)?.image.digest,
        };
        let mut tags = BTreeMap::new();
        for part in &listed {
            if let Some(name) = part.annotations.get(REF_NAME) {
                // Tools write a whole reference or only its tag.
                let tag = name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag);
                tags.insert(tag.to_owned(), part.digest);
            }
            let kind = part.annotations.get(KIND).and_then(|kind| KINDS.iter().find(|(known, _)| known == kind));
            if let Some((_, kind)) = kind {
                tags.insert(kind.tag_for(&root).to_string(), part.digest);
            }
        }
        Ok(Self { dir, listed, tags, root })
    }

    /// The image that is meant.
    pub const fn root(&self) -> Digest {
        self.root
    }

    fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        let path = blob_path(digest);
        let Some(stat) = self.dir.stat(&path)?.filter(|stat| !stat.is_dir) else { return Ok(None) };
        if stat.len_bytes > limit_bytes as u64 {
            return Ok(None);
        }
        Ok(Some(read_bounded(self.dir.as_ref(), &path, limit_bytes)?))
    }
}

impl Content for LayoutContent {
    fn manifest_by_digest(&self, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, ContentError> {
        let Some(bytes) = self.read(digest, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        let listed = self.listed.iter().find(|part| part.digest == *digest).map(|part| part.media_type.clone());
        Ok(Some((listed.unwrap_or_else(|| written_type(&bytes)), bytes)))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Digest>, ContentError> {
        Ok(self.tags.get(tag.as_str()).copied())
    }

    /// Whatever is listed and names `subject`; each is opened by the gate anyway.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>, ContentError> {
        let mut found = Vec::new();
        for part in self.listed.iter().take(EVIDENCE_MANIFESTS_COUNT_MAX) {
            let Some((media_type, bytes)) = self.manifest_by_digest(&part.digest)? else { continue };
            let manifest = Manifest::parse_with(&bytes, &media_type, part.digest.algorithm()).ok();
            if manifest.and_then(|manifest| manifest.subject).is_some_and(|named| named.digest == *subject) {
                found.push(part.digest);
            }
        }
        Ok(found)
    }

    fn blob(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        self.read(digest, limit_bytes)
    }

    fn open(&self, digest: &Digest) -> Result<Option<Stream>, ContentError> {
        let path = blob_path(digest);
        match self.dir.stat(&path)?.filter(|stat| !stat.is_dir) {
            Some(_) => Ok(Some(Bytes::of(self.dir.open(&path)?))),
            None => Ok(None),
        }
    }
}

/// The type that a manifest gives itself, or the one that its shape has.
fn written_type(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    match value["mediaType"].as_str() {
        Some(written) => written.to_owned(),
        None if value["manifests"].is_array() => OCI_INDEX.to_owned(),
        None => OCI_MANIFEST.to_owned(),
    }
}
