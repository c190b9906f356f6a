//! Judges one image of a set as an import would, straight from the medium: nothing is staged, and nothing comes in.

use std::cell::RefCell;

use super::ImportError;
use super::select::{self, OpenVolume, Selected};
use super::{ImportOptions, publish, staging};
use crate::admission::{AdmissionError, Allowance, Candidate, ContentError, Judgement, Stream, judge};
use crate::bundle::content::{ImageContent, Source};
use crate::bundle::format::table::{Image, SetTable};
use crate::bundle::format::volume::SetId;
use crate::oci::digest::Digest;
use crate::oci::name::{ImageReference, Reference};
use crate::store::Store;
use crate::sys::clock::trusted_now;
use crate::sys::keys::KeyRing;
use crate::sys::medium::Medium;
use crate::verify::TrustPolicy;

/// What an import would say of `wanted`, an image by the name under which it would come in. The seal must be an enrolled
/// sender's and name this device, as for an import; whether the set comes in its turn is not asked.
pub fn verify(
    store: &Store,
    keys: &KeyRing,
    policy: &TrustPolicy,
    medium: &dyn Medium,
    options: &ImportOptions,
    wanted: &ImageReference,
) -> Result<(Digest, Result<Judgement, AdmissionError>), ImportError> {
    let Selected { set, table, volumes, .. } = select::select(store, keys.device_id(), medium, options)?;
    let Some(image) = table.images.iter().find(|image| is_meant(image, wanted)) else {
        return Err(ImportError::ImageNotInSet { image: wanted.clone() });
    };
    let candidate = Candidate {
        repository: image.repository.clone(),
        original: Some(image.original.clone()),
        root: image.digest,
        tags: image.tags.clone(),
    };
    let source = MediumSource { store, set, table: &table, volumes: RefCell::new(volumes) };
    let content = ImageContent { image, source: &source, allowance: Allowance::of(options.judged_bytes_max) };
    let now = trusted_now(store.clock().wall(), store.time_floor());
    let judged = match judge(policy, &candidate, &content, now) {
        // What is wrong with the medium is said as an import says it.
        Err(AdmissionError::Unread { what, source }) => match source.downcast::<ImportError>() {
            Ok(error) => return Err(*error),
            Err(source) => Err(AdmissionError::Unread { what, source }),
        },
        Ok(Judgement::Admitted(admitted)) => Ok(match publish::incomplete(&admitted, &table) {
            Some(refusal) => Judgement::Refused { refusal, verdict: admitted.verdict },
            None => Judgement::Admitted(admitted),
        }),
        judged => judged,
    };
    Ok((image.digest, judged))
}

fn is_meant(image: &Image, wanted: &ImageReference) -> bool {
    image.repository == wanted.repository
        && match &wanted.reference {
            Reference::Digest(digest) => image.digest == *digest,
            Reference::Tag(tag) => image.tags.contains(tag),
        }
}

impl MediumSource<'_> {
    /// Why content is not what its name says: a volume is on another medium, or the sender has sealed something else.
    fn not_read(&self, digest: &Digest) -> ImportError {
        let volumes = self.volumes.borrow();
        let is_here = |number: &u16| volumes.iter().any(|volume| volume.head.volume.volume == *number);
        let count = u16::try_from(self.table.volumes.len()).unwrap_or(u16::MAX);
        let missing: Vec<u16> = (1..=count).filter(|number| !is_here(number)).collect();
        match missing.is_empty() {
            true => ImportError::Blob { set: self.set.to_string(), digest: *digest },
            false => ImportError::VolumesNeeded { set: self.set, volumes: missing },
        }
    }
}

/// The bytes of a set, read from its volumes whenever they are asked for; those that do not travel because they are here
/// already come out of the store.
struct MediumSource<'a> {
    store: &'a Store,
    set: SetId,
    table: &'a SetTable,
    volumes: RefCell<Vec<OpenVolume>>,
}

impl Source for MediumSource<'_> {
    fn manifest_type(&self, digest: &Digest) -> Option<String> {
        self.table.blob(digest)?.manifest.clone()
    }

    /// Layers are not read from a medium, so that nothing is known of them.
    fn open(&self, _digest: &Digest) -> Result<Option<Stream>, ContentError> {
        Ok(None)
    }

    fn read(&self, digest: &Digest, limit_bytes: usize) -> Result<Option<Vec<u8>>, ContentError> {
        let Some(index) = self.table.blob_index(digest) else { return Ok(None) };
        let blob = &self.table.blobs[index];
        if blob.size > limit_bytes as u64 {
            return Ok(None);
        }
        if staging::stands_in_store(self.store.blobs(), blob) {
            return Ok(self.store.blobs().read(digest, limit_bytes)?);
        }
        let mut bytes = Vec::new();
        for OpenVolume { reader, head } in self.volumes.borrow_mut().iter_mut() {
            reader.chunks(
                head,
                self.table,
                |place| place.blob == index,
                |_, content| {
                    bytes.extend_from_slice(content);
                    Ok::<_, ImportError>(())
                },
            )?;
        }
        if digest.algorithm().hash(&bytes) != *digest {
            return Err(self.not_read(digest).into());
        }
        Ok(Some(bytes))
    }
}
