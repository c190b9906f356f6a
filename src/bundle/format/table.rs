//! The table of a set (`set.json`): every image, every blob, the digest of every chunk, and how many chunks each volume
//! holds. Nothing in it can be derived from the rest, so there is little that could contradict itself.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FORMAT_VERSION;
use super::canonical::{self, CanonicalError};
use crate::limits::{
    BLOB_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_STORED_BYTES_MAX, COMPANIONS_COUNT_MAX,
    IMAGE_TAGS_COUNT_MAX, MANIFEST_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, SET_IMAGES_COUNT_MAX, SET_TABLE_BYTES_MAX,
    VOLUMES_COUNT_MAX,
};
use crate::oci::digest::{Digest, sha256};
use crate::oci::media_type;
use crate::oci::name::{RepositoryName, Tag};

/// The table of a whole set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTable {
    format: u32,
    /// Content bytes of every chunk but the last of each blob.
    pub chunk_bytes: u32,
    /// Sorted by repository, then digest.
    pub images: Vec<Image>,
    /// Manifests first, each part sorted by digest.
    pub blobs: Vec<Blob>,
    /// In the order of their numbers.
    pub volumes: Vec<Volume>,
}

/// An image (or other artifact) that travels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Repository at the sender, under which the receiver serves it too.
    pub repository: RepositoryName,
    pub digest: Digest,
    /// The name that the image had where the sender took it from. A claim: it can add rules, never satisfy one.
    pub original: RepositoryName,
    /// Tags that shall point at it. Sorted.
    pub tags: Vec<Tag>,
    /// Platforms that travel, as `os/architecture[/variant]`; empty where the image names none.
    pub platforms: Vec<String>,
    /// Manifests that say something about the image or a part of it. Sorted.
    pub companions: Vec<Companion>,
}

/// A signature, attestation, SBOM or list of such.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companion {
    /// The manifest that it speaks of.
    pub subject: Digest,
    pub digest: Digest,
    /// The tag by which it is found; none for a referrer.
    pub tag: Option<Tag>,
}

/// Content, cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// The media type of a manifest; none for other content.
    pub manifest: Option<String>,
    /// In the order of the content. A chunk's length follows from the size, its number from its place in the table.
    pub chunks: Vec<Chunk>,
}

/// The stored form of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Stored (compressed) bytes.
    pub stored: u32,
    pub sha256: ChunkDigest,
}

/// SHA-256 of a chunk's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkDigest(pub [u8; 32]);

impl Serialize for ChunkDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for ChunkDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let raw = HEXLOWER.decode(text.as_bytes()).ok().and_then(|raw| raw.try_into().ok());
        raw.map(Self).ok_or_else(|| serde::de::Error::custom("a chunk's digest is 64 hexadecimal digits"))
    }
}

impl ChunkDigest {
    /// The digest of a chunk's stored bytes.
    pub fn of(stored: &[u8]) -> Self {
        Self(sha256(stored))
    }
}

/// What one volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    pub chunks: u32,
}

/// Why bytes are not the table of a set.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("table is not readable")]
    Canonical(#[from] CanonicalError),
    #[error("table is of format {0}, this version reads format {FORMAT_VERSION}")]
    Format(u32),
    #[error("table contradicts itself or breaks a bound: {what} ({place})")]
    Inconsistent { what: &'static str, place: String },
}

fn inconsistent(what: &'static str, place: impl std::fmt::Display) -> TableError {
    TableError::Inconsistent { what, place: place.to_string() }
}

impl SetTable {
    /// A table to be written; the images and blobs are brought into their order.
    pub fn new(chunk_bytes: u32, mut images: Vec<Image>, mut blobs: Vec<Blob>, volumes: Vec<Volume>) -> Self {
        images.sort();
        blobs.sort_by_key(Blob::order);
        Self { format: FORMAT_VERSION, chunk_bytes, images, blobs, volumes }
    }

    /// Parses `set.json`. Call it only after the seal's digest of these bytes was compared.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let table: Self = canonical::parse(bytes, SET_TABLE_BYTES_MAX)?;
        table.check()?;
        Ok(table)
    }

    /// Its one text.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// Checks every rule of the format; also what is to be written must pass.
    pub fn check(&self) -> Result<(), TableError> {
        if self.format != FORMAT_VERSION {
            return Err(TableError::Format(self.format));
        }
        let chunk_bytes = self.chunk_bytes as usize;
        if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes) || !chunk_bytes.is_multiple_of(CHUNK_BYTES_MIN) {
            return Err(inconsistent("size of a chunk", self.chunk_bytes));
        }
        self.check_blobs()?;
        self.check_images()?;
        let chunks_count: u64 = self.blobs.iter().map(|blob| blob.chunks.len() as u64).sum();
        let in_volumes: u64 = self.volumes.iter().map(|volume| u64::from(volume.chunks)).sum();
        let volumes_good = (1..=VOLUMES_COUNT_MAX).contains(&self.volumes.len())
            && self.volumes.iter().all(|volume| volume.chunks > 0);
        if !volumes_good || chunks_count != in_volumes {
            return Err(inconsistent("chunks in volumes", format_args!("{in_volumes} of {chunks_count}")));
        }
        Ok(())
    }

    fn check_blobs(&self) -> Result<(), TableError> {
        if !self.blobs.is_sorted_by(|a, b| a.order() < b.order()) {
            return Err(inconsistent("order of blobs", self.blobs.len()));
        }
        // One digest may not stand among the manifests and among the other content: it would have two places.
        let split = self.blobs.partition_point(|blob| blob.manifest.is_some());
        let (manifests, others) = self.blobs.split_at(split);
        let twice = |blob: &&Blob| others.binary_search_by(|other| other.digest.cmp(&blob.digest)).is_ok();
        if let Some(blob) = manifests.iter().find(twice) {
            return Err(inconsistent("blob stands twice", blob.digest));
        }
        for blob in &self.blobs {
            let size_max = if blob.manifest.is_some() { MANIFEST_BYTES_MAX as u64 } else { BLOB_BYTES_MAX };
            let media_type_good = blob
                .manifest
                .as_ref()
                .is_none_or(|kind| kind.len() <= MEDIA_TYPE_BYTES_MAX && media_type::is_manifest(kind));
            if blob.size > size_max || !media_type_good {
                return Err(inconsistent("size or type of a blob", blob.digest));
            }
            let chunks_good = blob.chunks.len() as u64 == blob.size.div_ceil(u64::from(self.chunk_bytes))
                && blob.chunks.iter().all(|chunk| (1..=CHUNK_STORED_BYTES_MAX).contains(&(chunk.stored as usize)));
            if !chunks_good {
                return Err(inconsistent("chunks of a blob", blob.digest));
            }
        }
        Ok(())
    }

    fn check_images(&self) -> Result<(), TableError> {
        let manifests: BTreeMap<&Digest, ()> =
            self.blobs.iter().filter(|blob| blob.manifest.is_some()).map(|blob| (&blob.digest, ())).collect();
        let in_order = self.images.is_sorted_by(|a, b| (&a.repository, &a.digest) < (&b.repository, &b.digest));
        if !in_order || self.images.len() > SET_IMAGES_COUNT_MAX {
            return Err(inconsistent("order or count of images", self.images.len()));
        }
        for image in &self.images {
            let place = || format!("{}@{}", image.repository, image.digest);
            let counts_good = image.tags.len() <= IMAGE_TAGS_COUNT_MAX
                && image.companions.len() <= COMPANIONS_COUNT_MAX
                && image.platforms.len() <= COMPANIONS_COUNT_MAX;
            let sorted = image.tags.is_sorted_by(|a, b| a < b)
                && image.platforms.is_sorted_by(|a, b| a < b)
                && image.companions.is_sorted_by(|a, b| a < b);
            if !counts_good || !sorted || !image.platforms.iter().all(|platform| is_platform(platform)) {
                return Err(inconsistent("tags, platforms or companions", place()));
            }
            let missing = std::iter::once(&image.digest)
                .chain(image.companions.iter().map(|companion| &companion.digest))
                .find(|digest| !manifests.contains_key(digest));
            if let Some(digest) = missing {
                return Err(inconsistent("manifest is not among the blobs", format_args!("{} of {}", digest, place())));
            }
        }
        Ok(())
    }

    /// The blob with a digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blob_index(digest).and_then(|index| self.blobs.get(index))
    }

    /// The place in the table of the blob with a digest.
    pub fn blob_index(&self, digest: &Digest) -> Option<usize> {
        let find = |manifest| self.blobs.binary_search_by(|blob| blob.order().cmp(&(manifest, *digest))).ok();
        find(false).or_else(|| find(true))
    }
}

impl Blob {
    /// Manifests first.
    const fn order(&self) -> (bool, Digest) {
        (self.manifest.is_none(), self.digest)
    }
}

fn is_platform(text: &str) -> bool {
    text.len() <= MEDIA_TYPE_BYTES_MAX && text.chars().all(|letter| letter.is_ascii_graphic())
}

#[cfg(test)]
pub mod tests {
    use super::{Blob, Chunk, ChunkDigest, Companion, Image, SetTable, TableError, Volume};
    use crate::oci::digest::Digest;
    use crate::oci::media_type::OCI_MANIFEST;

    pub fn table() -> SetTable {
        let chunk = Chunk { stored: 100, sha256: ChunkDigest::of(b"stored") };
        let blob = |content: &[u8], manifest: Option<&str>, chunks| Blob {
            digest: Digest::of(content),
            size: 4096 * chunks as u64,
            manifest: manifest.map(str::to_owned),
            chunks: vec![chunk; chunks],
        };
        let image = Image {
            repository: "low/app".parse().unwrap(),
            digest: Digest::of(b"root"),
            original: "registry.example/app".parse().unwrap(),
            tags: vec!["v1".parse().unwrap()],
            platforms: vec!["linux/amd64".to_owned()],
            companions: vec![Companion { subject: Digest::of(b"root"), digest: Digest::of(b"signature"), tag: None }],
        };
        let blobs = vec![
            blob(b"layer", None, 3),
            blob(b"root", Some(OCI_MANIFEST), 1),
            blob(b"signature", Some(OCI_MANIFEST), 1),
            blob(b"", None, 0),
        ];
        SetTable::new(4096, vec![image], blobs, vec![Volume { chunks: 2 }, Volume { chunks: 3 }])
    }

    #[test]
    fn round_trips() {
        let table = table();
        assert_eq!(SetTable::parse(&table.to_bytes()).unwrap(), table);
        assert_eq!(table.blob(&Digest::of(b"layer")).unwrap().chunks.len(), 3);
        assert!(table.blob(&Digest::of(b"root")).unwrap().manifest.is_some());
        assert!(table.blob(&Digest::of(b"absent")).is_none());
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let check = |change: &dyn Fn(&mut SetTable)| {
            let mut bad = table();
            change(&mut bad);
            let error = SetTable::parse(&bad.to_bytes()).unwrap_err();
            assert!(matches!(error, TableError::Inconsistent { .. } | TableError::Format(_)), "{error:?}");
        };
        check(&|table| table.format = 2);
        check(&|table| table.chunk_bytes = 4095);
        check(&|table| table.chunk_bytes = 8192);
        check(&|table| table.blobs.swap(0, 1));
        check(&|table| table.blobs[0].size += 1);
        check(&|table| table.blobs[0].manifest = Some("text/plain".to_owned()));
        check(&|table| table.blobs[2].chunks.clear());
        check(&|table| {
            let twice = Blob { manifest: None, ..table.blobs[0].clone() };
            table.blobs.push(twice);
            table.volumes[0].chunks += 1;
            table.blobs.sort_by_key(Blob::order);
        });
        check(&|table| table.blobs[0].chunks[0].stored = 0);
        check(&|table| table.volumes[0].chunks += 1);
        check(&|table| table.volumes.insert(0, Volume { chunks: 0 }));
        check(&|table| table.images[0].digest = Digest::of(b"absent"));
        check(&|table| table.images[0].companions[0].digest = Digest::of(b"layer"));
        check(&|table| table.images.push(table.images[0].clone()));
        check(&|table| table.images[0].tags.push("a".parse().unwrap()));
        check(&|table| table.images[0].platforms.push("x\ny".to_owned()));
    }

    #[test]
    fn names_are_never_paths() {
        let text = String::from_utf8(table().to_bytes()).unwrap();
        for name in ["../../etc", "/etc/passwd", "a\\\\b", "A"] {
            let bad = text.replace("\"low/app\"", &format!("\"{name}\""));
            assert!(matches!(SetTable::parse(bad.as_bytes()), Err(TableError::Canonical(_))), "{name}");
        }
    }
}
