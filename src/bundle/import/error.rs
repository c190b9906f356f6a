//! Why a set did not come in. Every message names the volume or set, the place, and what to do next.

use crate::admission::AdmissionError;
use crate::bundle::format::volume::SetId;
use crate::bundle::medium_scan::ScanError;
use crate::bundle::reader::VolumeError;
use crate::bundle::receipt::ReceiptError;
use crate::device_id::DeviceId;
use crate::enrolment::EnrolmentError;
use crate::oci::digest::Digest;
use crate::oci::name::ImageReference;
use crate::store::{BlobError, CommitError, LeaseHeld, StoreError};
use crate::sys::dir::DirError;

/// Why a set did not come in. Nothing of it can be seen then, unless the error is [`ImportError::Receipt`].
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("no volume of a transfer bundle is on '{label}': its name begins with 'postern-' and ends in '.tar'")]
    Nothing { label: String },
    #[error("no volume of set '{set}' is on '{label}': 'postern bundle inspect' shows what is")]
    SetNotHere { set: String, label: String },
    #[error("volumes of several sets are here ({}): choose one with --set", .sets.join(", "))]
    SeveralSets { sets: Vec<String> },
    #[error("no image '{image}' is in this set: 'postern bundle inspect' shows what is")]
    ImageNotInSet { image: ImageReference },
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("volume '{file}' is of set {set}, the others are of set {expected}: take the foreign volume away")]
    Foreign { file: String, set: SetId, expected: SetId },
    #[error(
        "volume '{file}' is sealed ('seal.json') by device '{}', which is not enrolled here as a sender: if it is known \
         to you, compare fingerprints and enrol it with 'postern enroll add --role sender'",
        .sender.fingerprint()
    )]
    UnknownSender { file: String, sender: DeviceId },
    #[error(
        "volume '{file}' is sealed ('seal.json') for {}, this device is '{this_device}': carry it there, or let the \
         sender export a set for this device",
        .receivers.join(", ")
    )]
    NotForUs { file: String, receivers: Vec<String>, this_device: String },
    #[error(
        "set {set} has sequence {sequence} in series '{series}' ('seal.json' of every volume), and {high_water} was \
         imported already: let the sender export a new set"
    )]
    Older { set: SetId, series: String, sequence: u64, high_water: u64 },
    #[error("the image cannot be judged without {} of set {set}: put {} into the same directory", volumes_text(.volumes),
        if .volumes.len() == 1 { "it" } else { "them" })]
    VolumesNeeded { set: SetId, volumes: Vec<u16> },
    #[error("{} of set {set} {} still missing: bring the medium that has {} and run the same command again; what was read is kept",
        volumes_text(.volumes), if .volumes.len() == 1 { "is" } else { "are" },
        if .volumes.len() == 1 { "it" } else { "them" })]
    VolumesMissing { set: SetId, volumes: Vec<u16>, bytes_read: u64 },
    #[error(
        "blob '{digest}' of set {set} does not hash to its digest although every chunk is sealed: run the same command \
         again, in case the disk here has changed it; if that does not help, the sender must export a new set"
    )]
    Blob { set: String, digest: Digest },
    #[error(
        "this set needs {needed_bytes} bytes of space here and {free_bytes} are free: retire and sweep, or add space, \
         then run the same command again"
    )]
    NoRoom { needed_bytes: u64, free_bytes: u64 },
    #[error("set {set} names '{digest}' as part of an image and does not carry it: the sender must export a new set")]
    Incomplete { set: SetId, digest: Digest },
    #[error("content that was here when the import began is gone: run the same command again")]
    Swept { digest: Digest },
    #[error("the sender cannot be looked up")]
    Enrolment(#[from] EnrolmentError),
    #[error("a repository of the set is busy")]
    Lease(#[from] LeaseHeld),
    #[error("content cannot be staged: is the disk full or damaged? the same command goes on where this one stopped")]
    Staging(#[from] DirError),
    #[error("content cannot be taken into the store")]
    Store(#[from] StoreError),
    #[error("content cannot be taken into the store")]
    Blobs(#[from] BlobError),
    #[error("an image cannot be judged")]
    Admission(#[from] AdmissionError),
    #[error("set was not committed")]
    Commit(#[from] CommitError),
    #[error("set was committed, but its receipt was not written: run the same command again")]
    Receipt(#[from] ReceiptError),
}

/// "volume 3", "volumes 2 and 4", "volumes 1, 2 and 4".
fn volumes_text(volumes: &[u16]) -> String {
    let numbers: Vec<String> = volumes.iter().map(u16::to_string).collect();
    match numbers.split_last() {
        Some((last, [])) => format!("volume {last}"),
        Some((last, first)) => format!("volumes {} and {last}", first.join(", ")),
        None => "no volume".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ImportError, volumes_text};
    use crate::bundle::format::volume::SetId;

    #[test]
    fn volumes_are_named() {
        for (volumes, expected) in
            [(&[3][..], "volume 3"), (&[2, 4], "volumes 2 and 4"), (&[1, 2, 4], "volumes 1, 2 and 4")]
        {
            assert_eq!(volumes_text(volumes), expected);
        }
        let set = SetId::of_statement(b"x");
        let error = ImportError::VolumesMissing { set, volumes: vec![2, 4], bytes_read: 0 };
        assert_eq!(
            error.to_string(),
            format!(
                "volumes 2 and 4 of set {set} are still missing: bring the medium that has them and run the same command \
                 again; what was read is kept"
            )
        );
    }
}
