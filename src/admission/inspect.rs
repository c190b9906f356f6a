//! What the images that want to come in hold: config and layers of each, as far as the rules ask.
//!
//! What cannot be found out is a reason and no fact: a layer that is not here, a config that cannot be read, an archive that
//! could be read in two ways. A source that fails is neither; the image is judged another time.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use super::content::{Content, Reader, hashes_to};
use super::error::AdmissionError;
use super::layer::{self, Found, LayerError, Packing};
use crate::limits::{
    CONFIG_BYTES_MAX, EVIDENCE_BYTES_MAX, IMAGE_TAKEN_AWAY_BYTES_MAX, IMAGE_UNPACKED_BYTES_MAX, INDEX_DEPTH_COUNT_MAX,
    MIB,
};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{EdgeKind, Manifest};
use crate::oci::media_type;
use crate::verify::content::{Files, ImageConfig, ImageContent, Wanted};

const GIB: u64 = 1024 * MIB as u64;
/// The layers of what BuildKit writes beside an image: statements, which nothing unpacks.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Looks into every image of `root` that is here. Platforms that are not do not come in, and are judged when they do.
///
/// Behind the first one whose layers cannot be looked into nothing is read any more. What is left then stands there as one
/// image of which nothing is known, so that no rule is satisfied by what it was not shown.
pub fn inspect(content: &dyn Content, root: &Manifest, wanted: &Wanted) -> Result<Vec<ImageContent>, AdmissionError> {
    // A budget of its own: what is read here is read again when the image is taken in.
    let mut reader = Reader::new(content);
    let (mut images, mut seen, mut unpacked_bytes) = (Vec::new(), BTreeSet::new(), 0);
    let mut open = vec![(root.clone(), 0)];
    while let Some((manifest, depth)) = open.pop() {
        if !seen.insert(manifest.digest) {
            continue;
        }
        if !manifest.is_index() {
            if holds_statements(&reader, &manifest)? {
                continue;
            }
            let image = image(&reader, &manifest, wanted, &mut unpacked_bytes)?;
            let stops = needs_layers(&image.config, wanted) && image.files.is_err();
            images.push(image);
            if stops {
                images.extend(open.pop().map(|(left, _)| unknown(&left)));
                break;
            }
            continue;
        }
        if depth == INDEX_DEPTH_COUNT_MAX {
            return Err(AdmissionError::TooDeep);
        }
        for edge in manifest.edges().filter(|edge| edge.kind == EdgeKind::Manifest) {
            if let Some((child, _)) = reader.manifest(&edge.digest)? {
                open.push((child, depth + 1));
            }
        }
    }
    Ok(images)
}

/// By its layers, not by what the index says of it: that anybody may write. What a layer is called anybody may write too, so
/// that each must be a document: an archive under this name is looked into.
fn holds_statements(reader: &Reader<'_>, manifest: &Manifest) -> Result<bool, AdmissionError> {
    let is_called_one = |layer: &Descriptor| media_type::essence(&layer.media_type) == STATEMENT;
    if manifest.parts.is_empty() || !manifest.parts.iter().all(is_called_one) {
        return Ok(false);
    }
    for layer in &manifest.parts {
        let Some(bytes) = reader.blob(&layer.digest, EVIDENCE_BYTES_MAX)? else { return Ok(false) };
        let is_document = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() && !layer::begins_an_archive(&bytes);
        if !hashes_to(&bytes, &layer.digest) || !is_document {
            return Ok(false);
        }
    }
    Ok(true)
}

fn needs_layers(config: &Result<ImageConfig, String>, wanted: &Wanted) -> bool {
    config.as_ref().map_or(wanted.files, |config| wanted.needs_layers(config))
}

fn unknown(manifest: &Manifest) -> ImageContent {
    let reason = "it was not looked into, because an image beside it cannot be".to_owned();
    ImageContent { manifest: manifest.digest, config: Err(reason.clone()), files: Err(reason) }
}

fn image(
    reader: &Reader<'_>,
    manifest: &Manifest,
    wanted: &Wanted,
    unpacked_bytes: &mut u64,
) -> Result<ImageContent, AdmissionError> {
    let config = config(reader, manifest)?;
    let files = match needs_layers(&config, wanted) {
        true => files(reader, &manifest.parts, wanted, unpacked_bytes)?,
        false => Err("its layers were not looked into".to_owned()),
    };
    Ok(ImageContent { manifest: manifest.digest, config, files })
}

fn config(reader: &Reader<'_>, manifest: &Manifest) -> Result<Result<ImageConfig, String>, AdmissionError> {
    let Some(config) = &manifest.config else { return Ok(Err("it has no config".to_owned())) };
    let Some(bytes) = reader.blob(&config.digest, CONFIG_BYTES_MAX)? else {
        return Ok(Err(format!("its config '{}' is not here, or larger than is read", config.digest)));
    };
    if !hashes_to(&bytes, &config.digest) {
        return Ok(Err(format!("its config '{}' does not hash to its digest", config.digest)));
    }
    Ok(ImageConfig::parse(&bytes))
}

/// From the uppermost layer down, so that what is taken away is known before it is seen.
fn files(
    reader: &Reader<'_>,
    layers: &[Descriptor],
    wanted: &Wanted,
    unpacked_bytes: &mut u64,
) -> Result<Result<Files, String>, AdmissionError> {
    let (mut files, mut hidden) = (Files::default(), Hidden::default());
    let mut users: Option<Option<Vec<u8>>> = None;
    for descriptor in layers.iter().rev() {
        let digest = &descriptor.digest;
        if *unpacked_bytes > IMAGE_UNPACKED_BYTES_MAX {
            let reason = "the layers of the image, with all its platforms, unpack to more than is looked into";
            return Ok(Err(format!("{reason} ({} GiB)", IMAGE_UNPACKED_BYTES_MAX / GIB)));
        }
        let Some(packing) = Packing::of_media_type(&descriptor.media_type) else {
            let media_type = &descriptor.media_type;
            return Ok(Err(format!(
                "layer '{digest}' cannot be looked into: its media type '{media_type}' is none of an archive, plain or in \
                 gzip or zstd"
            )));
        };
        let Some(raw) = reader.open(digest)? else {
            return Ok(Err(format!("layer '{digest}' is not here, so that nobody knows what lies in it")));
        };
        let found = match layer::looked(raw, digest, wanted) {
            Ok(found) => found,
            Err(LayerError::Source(source)) => return Err(AdmissionError::unread(digest, source.into())),
            Err(error) => return Ok(Err(format!("layer '{digest}' cannot be looked into: {error}"))),
        };
        // Some runtimes go by the media type, others by the first bytes: they must see the same archive.
        if found.packing != packing {
            let (named, packed) = (packing.name(), found.packing.name());
            return Ok(Err(format!(
                "layer '{digest}' cannot be looked into: by its media type it is packed with {named}, and it is with {packed}"
            )));
        }
        *unpacked_bytes = unpacked_bytes.saturating_add(found.unpacked_bytes);
        files.unpacked_bytes = files.unpacked_bytes.saturating_add(found.unpacked_bytes);
        files.found.extend(found.paths.iter().filter(|path| !hidden.hides(path)).cloned());
        if users.is_none() && !hidden.hides(USERS) {
            users.clone_from(&found.users);
        }
        hidden.add(&found);
        if hidden.bytes > IMAGE_TAKEN_AWAY_BYTES_MAX {
            return Ok(Err("its layers take away more paths than are looked at".to_owned()));
        }
    }
    files.found.sort_unstable();
    files.found.dedup();
    files.users = users.flatten().map(|bytes| Files::parse_users(&bytes)).unwrap_or_default();
    Ok(Ok(files))
}

const USERS: &str = "etc/passwd";

/// What the layers that were seen take away of those below. A directory that gives way to a file takes nothing away here:
/// what lay in it still counts. For what must not be there this can refuse too much and never admits; the list of users must
/// be there, so that of an `etc` that gave way nothing is taken for known.
#[derive(Default)]
struct Hidden {
    paths: BTreeSet<String>,
    emptied: BTreeSet<String>,
    bytes: usize,
}

impl Hidden {
    fn add(&mut self, found: &Found) {
        let bytes = found.taken_away.iter().chain(&found.emptied).map(String::len).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        self.paths.extend(found.taken_away.iter().cloned());
        self.emptied.extend(found.emptied.iter().cloned());
    }

    fn hides(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.paths.contains(path)
            || folders.into_iter().any(|folder| self.paths.contains(folder) || self.emptied.contains(folder))
    }
}

/// The digests of what must be here before the images of these manifests can be looked into, with their sizes.
pub fn needed(manifests: &[Manifest]) -> Vec<(Digest, u64)> {
    // Statements too: whether they are, their bytes say.
    let images = manifests.iter().filter(|manifest| !manifest.is_index());
    let parts = images.flat_map(|manifest| manifest.config.iter().chain(&manifest.parts));
    parts.map(|part| (part.digest, part.size)).collect()
}
