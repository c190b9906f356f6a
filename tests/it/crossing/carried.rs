//! A smaller world for the tests that need many receivers: sets on media, and a receiving side to be copied.
//!
//! Made once for all tests that run at the same time, and gone with the last of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::clients::Clients;
use crate::outside::signing::{self, SigningKey};
use crate::outside::{Image, NEEDED, Outside};

use super::appliance::Appliance;
use super::goods::{Parts, UPSTREAM, parts};
use super::{enrolment, export, high_side};

/// Such that each set with the multi-platform image has three volumes or more.
pub const VOLUME_BYTES: u64 = 1_500_000;

#[cfg_attr(not(feature = "killpoints"), expect(dead_code, reason = "some of it is for the kills alone"))]
pub struct Carried {
    /// Three platforms, signed.
    pub app: Image,
    pub app_parts: Parts,
    /// Signed by nobody.
    pub unsigned: Image,
    /// The receiving side before any import: to be copied, never used itself.
    pub receiver: Appliance<'static>,
    /// Sequence 1 for the receiver: both images.
    pub first: PathBuf,
    /// Sequence 2 for the receiver: the signed image alone.
    pub second: PathBuf,
    /// For another receiver.
    pub of_another: PathBuf,
    /// For the receiver, by a sender that it does not know.
    pub by_a_stranger: PathBuf,
    _folder: TempDir,
}

/// The shared world, or a skip.
#[track_caller]
pub fn carried() -> Option<Arc<Carried>> {
    static SHARED: Mutex<Weak<Carried>> = Mutex::new(Weak::new());
    // Poisoned by a test that failed while making it: the next one tries again.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(carried) = shared.upgrade() {
        return Some(carried);
    }
    let carried = Arc::new(Carried::make(&Clients::find(&NEEDED)?));
    *shared = Arc::downgrade(&carried);
    Some(carried)
}

impl Carried {
    #[track_caller]
    fn make(clients: &Clients) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let outside = Outside::start(clients);
        let (app, unsigned) =
            (outside.push_multi_platform("demo/app", "v1"), outside.push_single("demo/unsigned", "v1"));
        let key = SigningKey::generate(clients, "apps");
        signing::sign_bundle(clients, &key, &app);

        let side = |name: &str| Appliance::set_up(folder.path(), name, None);
        let (low, stranger, receiver, another) = (side("low"), side("stranger"), side("receiver"), side("another"));
        enrolment::exchange(&low, &receiver, folder.path());
        enrolment::enrol(&low, &another, "receiver", folder.path());
        enrolment::enrol(&stranger, &receiver, "receiver", folder.path());
        for sender in [&low, &stranger] {
            mirror(sender, &outside, &[&app, &unsigned], folder.path());
        }
        receiver.without_tls("");
        high_side::activate(&receiver, &policy(&key), folder.path());

        let set = |sender: &Appliance<'_>, receiver: &str, name: &str, images: &[&Image]| {
            let medium = folder.path().join(name);
            std::fs::create_dir(&medium).expect("the folder is ours");
            export::export(sender, images, receiver, &medium, VOLUME_BYTES);
            medium
        };
        let first = set(&low, "receiver", "first", &[&app, &unsigned]);
        let second = set(&low, "receiver", "second", &[&app]);
        let of_another = set(&low, "another", "of-another", &[&app]);
        let by_a_stranger = set(&stranger, "receiver", "by-a-stranger", &[&app]);
        let app_parts = parts(&app);
        Self { app, app_parts, unsigned, receiver, first, second, of_another, by_a_stranger, _folder: folder }
    }

    /// A receiving side of the test's own.
    #[track_caller]
    pub fn receiver(&self, folder: &Path) -> Appliance<'static> {
        self.receiver.copied_to(&folder.join("receiver"))
    }
}

/// Takes images from outside without a server: the command does it itself.
#[track_caller]
fn mirror(sender: &Appliance<'_>, outside: &Outside, images: &[&Image], folder: &Path) {
    let url = format!("http://{}", outside.address());
    sender.configure(&format!("[[upstream]]\nname = \"{UPSTREAM}\"\nurl = \"{url}\"\n"));
    high_side::activate(sender, "version = 1\ndefault = \"admit\"\n", folder);
    let references = images.iter().map(|image| super::low_side::reference(image));
    sender.run(["mirror", "fetch"].into_iter().map(str::to_owned).chain(references)).succeeded();
}

fn policy(key: &SigningKey) -> String {
    let pem = key.public_pem();
    format!(
        "version = 1\ndefault = \"deny\"\n[keys.apps]\npem = \"\"\"\n{pem}\"\"\"\n\
         [[rule]]\nname = \"apps-are-signed\"\nrepositories = [\"{UPSTREAM}/**\"]\nsignature.keys = [\"apps\"]\n"
    )
}
