//! Reading an image layout that anybody may have written: which image is meant, everything that belongs to it, and
//! whether each piece is what it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{INDEX, LayoutError, MARKER, REF_NAME, blob_path, marker};
use crate::limits::{
    BLOB_BYTES_MAX, IMAGE_MANIFESTS_BYTES_MAX, IMAGE_MANIFESTS_COUNT_MAX, INDEX_DEPTH_COUNT_MAX,
    LAYOUT_MARKER_BYTES_MAX, MANIFEST_BYTES_MAX,
};
use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type::{self, OCI_INDEX};
use crate::sys::dir::{Dir, File, read_bounded, read_exact_at};

/// A directory that says that it is a layout.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: Arc<dyn Dir>,
}

/// A manifest that is to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedManifest {
    pub digest: Digest,
    pub size_bytes: u64,
    pub media_type: String,
    platform: Option<Platform>,
}

/// A config or a layer that is to be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedBlob {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// All that belongs to one image, in an order in which a registry takes it: blobs, then manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPlan {
    pub blobs: Vec<PlannedBlob>,
    /// What the image needs; children stand before what lists them.
    pub children: Vec<PlannedManifest>,
    /// The image itself, which the tag will name.
    pub image: PlannedManifest,
    /// What speaks of the image or of a child: signatures, SBOMs.
    pub referrers: Vec<PlannedManifest>,
}

impl PushPlan {
    /// Every manifest, in order.
    pub fn manifests(&self) -> impl Iterator<Item = &PlannedManifest> {
        self.children.iter().chain([&self.image]).chain(&self.referrers)
    }
}

impl Layout {
    /// The layout in `dir`.
    pub fn open(dir: Arc<dyn Dir>) -> Result<Self, LayoutError> {
        if dir.stat(MARKER)?.is_none() {
            return Err(LayoutError::NoLayout);
        }
        marker::check(&read_bounded(dir.as_ref(), MARKER, LAYOUT_MARKER_BYTES_MAX)?)?;
        Ok(Self { dir })
    }

    /// What has to be pushed for the image that is called `name` here; without a name there must be just one. Everything
    /// is there and of its length afterwards; what blobs hash to is seen when they are read.
    pub fn plan(&self, name: Option<&str>) -> Result<PushPlan, LayoutError> {
        let index = read_bounded(self.dir.as_ref(), INDEX, MANIFEST_BYTES_MAX)?;
        let index = Manifest::parse(&index, OCI_INDEX).map_err(LayoutError::Index)?;
        let mut walk =
            Walk { layout: self, seen: BTreeSet::new(), blobs: BTreeMap::new(), bytes: 0, ordered: Vec::new() };
        let listed = walk.listed(&index.parts)?;
        let image = choose(&listed, name)?;
        walk.visit(&image, 0)?;
        let mut children = std::mem::take(&mut walk.ordered);
        children.pop();
        walk.visit_referrers(&listed)?;
        let blobs =
            walk.blobs.iter().map(|(digest, size_bytes)| PlannedBlob { digest: *digest, size_bytes: *size_bytes });
        Ok(PushPlan { blobs: blobs.collect(), children, image, referrers: walk.ordered })
    }

    /// The bytes of a manifest, compared with its digest.
    pub fn manifest(&self, planned: &PlannedManifest) -> Result<Vec<u8>, LayoutError> {
        let PlannedManifest { digest, size_bytes, platform, .. } = planned;
        if *size_bytes > MANIFEST_BYTES_MAX as u64 {
            return Err(LayoutError::TooMuch { what: "bytes in one manifest", limit: MANIFEST_BYTES_MAX as u64 });
        }
        let file = self.open_sized(*digest, *size_bytes, platform.as_ref())?;
        let mut bytes = vec![0; usize::try_from(*size_bytes).unwrap_or(MANIFEST_BYTES_MAX)];
        read_exact_at(file.as_ref(), &mut bytes, 0).map_err(|source| LayoutError::Read { digest: *digest, source })?;
        match digest.algorithm().hash(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(LayoutError::Content { expected: *digest, actual }),
        }
    }

    /// A blob of the length that it should have. Whoever reads it compares what it hashes to.
    pub fn blob(&self, blob: &PlannedBlob) -> Result<Arc<dyn File>, LayoutError> {
        self.open_sized(blob.digest, blob.size_bytes, None)
    }

    fn open_sized(
        &self,
        digest: Digest,
        expected: u64,
        platform: Option<&Platform>,
    ) -> Result<Arc<dyn File>, LayoutError> {
        let path = blob_path(&digest);
        let stat = self.dir.stat(&path)?.filter(|stat| !stat.is_dir);
        let Some(stat) = stat else { return Err(LayoutError::Absent { digest, platform: platform.cloned() }) };
        if stat.len_bytes != expected {
            return Err(LayoutError::Size { digest, expected, actual: stat.len_bytes });
        }
        Ok(self.dir.open(&path)?)
    }
}

/// A manifest that `index.json` lists, and what it is called there.
struct Listed {
    planned: PlannedManifest,
    name: Option<String>,
    subject: Option<Digest>,
}

/// The image that is meant. What speaks of another manifest is no image, whatever it is called.
fn choose(listed: &[Listed], name: Option<&str>) -> Result<PlannedManifest, LayoutError> {
    let images = listed.iter().filter(|listed| listed.subject.is_none());
    let meant: Vec<&Listed> =
        images.filter(|listed| name.is_none_or(|name| listed.name.as_deref() == Some(name))).collect();
    let different: BTreeSet<&Digest> = meant.iter().map(|listed| &listed.planned.digest).collect();
    match (meant.first(), different.len(), name) {
        (Some(image), 1, _) => Ok(image.planned.clone()),
        (Some(_), count, _) => {
            let names = meant.iter().filter_map(|listed| listed.name.as_deref());
            Err(LayoutError::SeveralImages {
                count,
                names: names.map(|name| name.chars().take(200).collect()).take(20).collect(),
            })
        }
        (None, _, Some(name)) => Err(LayoutError::NoSuchImage(name.chars().take(200).collect())),
        (None, _, None) => Err(LayoutError::NoImage),
    }
}

fn planned(descriptor: &Descriptor) -> PlannedManifest {
    PlannedManifest {
        digest: descriptor.digest,
        size_bytes: descriptor.size,
        media_type: descriptor.media_type.clone(),
        platform: descriptor.platform.clone(),
    }
}

struct Walk<'a> {
    layout: &'a Layout,
    seen: BTreeSet<Digest>,
    blobs: BTreeMap<Digest, u64>,
    /// Sum of the sizes of the manifests that were read.
    bytes: u64,
    ordered: Vec<PlannedManifest>,
}

impl Walk<'_> {
    fn listed(&mut self, parts: &[Descriptor]) -> Result<Vec<Listed>, LayoutError> {
        let manifests = parts.iter().filter(|part| media_type::is_manifest(&part.media_type));
        let mut listed = Vec::new();
        for descriptor in manifests {
            if listed.len() >= IMAGE_MANIFESTS_COUNT_MAX {
                return Err(too_many());
            }
            let planned = planned(descriptor);
            let subject = self.read(&planned)?.subject.map(|subject| subject.digest);
            listed.push(Listed { planned, name: descriptor.annotations.get(REF_NAME).cloned(), subject });
        }
        self.bytes = 0;
        Ok(listed)
    }

    fn read(&mut self, planned: &PlannedManifest) -> Result<Manifest, LayoutError> {
        self.bytes = self.bytes.saturating_add(planned.size_bytes);
        if self.bytes > IMAGE_MANIFESTS_BYTES_MAX as u64 {
            return Err(LayoutError::TooMuch { what: "bytes of manifests", limit: IMAGE_MANIFESTS_BYTES_MAX as u64 });
        }
        let bytes = self.layout.manifest(planned)?;
        Manifest::parse_with(&bytes, &planned.media_type, planned.digest.algorithm())
            .map_err(|source| LayoutError::Manifest { digest: planned.digest, source })
    }

    /// Takes in a manifest behind everything that it needs.
    fn visit(&mut self, planned: &PlannedManifest, depth: usize) -> Result<(), LayoutError> {
        if !self.seen.insert(planned.digest) {
            return Ok(());
        }
        if self.seen.len() > IMAGE_MANIFESTS_COUNT_MAX {
            return Err(too_many());
        }
        if depth > INDEX_DEPTH_COUNT_MAX {
            return Err(LayoutError::TooMuch { what: "levels of index in index", limit: INDEX_DEPTH_COUNT_MAX as u64 });
        }
        let manifest = self.read(planned)?;
        for edge in manifest.edges() {
            match edge.kind {
                EdgeKind::Blob => self.blob(PlannedBlob { digest: edge.digest, size_bytes: edge.size })?,
                EdgeKind::Manifest => {
                    let (digest, size_bytes) = (edge.digest, edge.size);
                    let child =
                        PlannedManifest { digest, size_bytes, media_type: edge.media_type, platform: edge.platform };
                    self.visit(&child, depth + 1)?;
                }
            }
        }
        self.ordered.push(planned.clone());
        Ok(())
    }

    fn blob(&mut self, blob: PlannedBlob) -> Result<(), LayoutError> {
        if blob.size_bytes > BLOB_BYTES_MAX {
            return Err(LayoutError::TooMuch { what: "bytes in one blob", limit: BLOB_BYTES_MAX });
        }
        let empty = || blob.digest.algorithm().hash(b"");
        if blob.size_bytes == 0 && empty() != blob.digest {
            return Err(LayoutError::Content { expected: blob.digest, actual: empty() });
        }
        self.layout.blob(&blob)?;
        self.blobs.insert(blob.digest, blob.size_bytes);
        Ok(())
    }

    /// What speaks of something that was visited, and what speaks of that.
    fn visit_referrers(&mut self, listed: &[Listed]) -> Result<(), LayoutError> {
        loop {
            let before = self.seen.len();
            for listed in listed {
                if listed.subject.is_some_and(|subject| self.seen.contains(&subject)) {
                    self.visit(&listed.planned, 0)?;
                }
            }
            if self.seen.len() == before {
                return Ok(());
            }
        }
    }
}

fn too_many() -> LayoutError {
    LayoutError::TooMuch { what: "manifests", limit: IMAGE_MANIFESTS_COUNT_MAX as u64 }
}
