//! The keys of rows. What they mean is drawn in [`super`].

use super::{
    ACTIVE_OBJECTS, BLOBS, CONDEMNED, DEVICES, EDGES, EXPORTS, HIGH_WATER, MANIFESTS, OBJECTS, REFERRERS, REFUSALS,
    SINGLES, STAGED, STAGED_OBJECTS, STANDING, TAGS, TAGS_OF,
};
use crate::device_id::DeviceId;
use crate::oci::digest::Digest;
use crate::oci::name::RepositoryName;
use crate::store::record::DeviceRole;
use crate::verify::policy::ObjectName;

fn in_repository(collection: u8, repository: &RepositoryName) -> Vec<u8> {
    let mut key = vec![collection];
    key.extend_from_slice(repository.as_str().as_bytes());
    key.push(0);
    key
}

/// Behind every key of a repository, and before those of the next: its separator is 0.
pub fn behind_repository(collection: u8, repository: &RepositoryName) -> Vec<u8> {
    let mut key = in_repository(collection, repository);
    *key.last_mut().expect("a key ends with its separator") = 1;
    key
}

fn joined(mut key: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    key.extend_from_slice(rest);
    key
}

pub fn manifests(repository: &RepositoryName) -> Vec<u8> {
    in_repository(MANIFESTS, repository)
}

pub fn manifest(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(manifests(repository), &digest.to_key())
}

fn blob(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(in_repository(BLOBS, repository), &digest.to_key())
}

pub fn link(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(blob(repository, digest), &[0])
}

pub fn parents(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(blob(repository, digest), &[1])
}

pub fn parent(repository: &RepositoryName, digest: &Digest, parent: &Digest) -> Vec<u8> {
    joined(parents(repository, digest), &parent.to_key())
}

pub fn edges(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(in_repository(EDGES, repository), &digest.to_key())
}

pub fn edges_chunk(repository: &RepositoryName, digest: &Digest, chunk: u16) -> Vec<u8> {
    joined(edges(repository, digest), &chunk.to_be_bytes())
}

pub fn tags(repository: &RepositoryName) -> Vec<u8> {
    in_repository(TAGS, repository)
}

pub fn tag(repository: &RepositoryName, tag: &str) -> Vec<u8> {
    joined(tags(repository), tag.as_bytes())
}

pub fn tags_of(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(in_repository(TAGS_OF, repository), &digest.to_key())
}

pub fn tag_of(repository: &RepositoryName, digest: &Digest, tag: &str) -> Vec<u8> {
    joined(tags_of(repository, digest), tag.as_bytes())
}

pub fn referrers(repository: &RepositoryName, subject: &Digest) -> Vec<u8> {
    joined(in_repository(REFERRERS, repository), &subject.to_key())
}

pub fn referrer(repository: &RepositoryName, subject: &Digest, digest: &Digest) -> Vec<u8> {
    joined(referrers(repository, subject), &digest.to_key())
}

pub fn refusal(repository: &RepositoryName, reference: &str) -> Vec<u8> {
    joined(in_repository(REFUSALS, repository), reference.as_bytes())
}

pub fn standing(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(in_repository(STANDING, repository), &digest.to_key())
}

pub fn all_staged(repository: &RepositoryName) -> Vec<u8> {
    in_repository(STAGED, repository)
}

pub fn staged(repository: &RepositoryName, digest: &Digest) -> Vec<u8> {
    joined(all_staged(repository), &digest.to_key())
}

fn series(collection: u8, device: &DeviceId, series: &str) -> Vec<u8> {
    [&[collection], device.as_str().as_bytes(), &[0], series.as_bytes()].concat()
}

pub fn high_water(sender: &DeviceId, name: &str) -> Vec<u8> {
    series(HIGH_WATER, sender, name)
}

pub fn export(receiver: &DeviceId, name: &str) -> Vec<u8> {
    series(EXPORTS, receiver, name)
}

pub fn device_roles(device: &DeviceId) -> Vec<u8> {
    joined(vec![DEVICES], device.as_str().as_bytes())
}

pub fn device(device: &DeviceId, role: DeviceRole, chunk: u16) -> Vec<u8> {
    let role = match role {
        DeviceRole::Sender => 1,
        DeviceRole::Receiver => 2,
    };
    joined(joined(device_roles(device), &[role]), &chunk.to_be_bytes())
}

pub fn condemned(digest: &Digest) -> Vec<u8> {
    joined(vec![CONDEMNED], &digest.to_key())
}

pub fn objects() -> Vec<u8> {
    vec![OBJECTS]
}

pub fn object_versions(object: &ObjectName) -> Vec<u8> {
    joined(joined(objects(), object.to_string().as_bytes()), &[0])
}

pub fn object_version(object: &ObjectName, version: u64) -> Vec<u8> {
    joined(object_versions(object), &version.to_be_bytes())
}

/// The object and the version of a row in `O`, read from behind the letter.
pub fn split_object_version(rest: &[u8]) -> Option<(ObjectName, u64)> {
    let (name, version) = rest.split_at_checked(rest.len().checked_sub(size_of::<u64>() + 1)?)?;
    let version = version.strip_prefix(&[0])?.try_into().ok().map(u64::from_be_bytes)?;
    Some((std::str::from_utf8(name).ok()?.parse().ok()?, version))
}

pub fn active_objects() -> Vec<u8> {
    vec![ACTIVE_OBJECTS]
}

pub fn active_object(object: &ObjectName) -> Vec<u8> {
    joined(active_objects(), object.to_string().as_bytes())
}

pub fn staged_objects() -> Vec<u8> {
    vec![STAGED_OBJECTS]
}

pub fn staged_object(object: &ObjectName) -> Vec<u8> {
    joined(staged_objects(), object.to_string().as_bytes())
}

pub fn single(name: &str) -> Vec<u8> {
    joined(vec![SINGLES], name.as_bytes())
}

/// The repository and the rest of a key in a collection that is shared out by repository.
pub fn split_repository(key: &[u8]) -> Option<(RepositoryName, &[u8])> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(key.get(1..at)?).ok()?;
    Some((name.parse().ok()?, key.get(at + 1..)?))
}
