//! The first crossing: the real binary with real clients, from a registry outside over a medium into a network that is
//! not there. Only the command line and the wire are used, as by the people who will run it.
//!
//! The legs of `the_first_crossing` share one state and go in order, so that a failure names the leg. Tampering and kills
//! need many receivers and stand beside it, on a smaller world of their own (`carried`).

pub mod appliance;
mod carried;
mod denied;
mod enrolment;
mod export;
mod goods;
mod high_side;
// Without the feature there is no binary that can be told where to die.
#[cfg(feature = "killpoints")]
mod kill;
mod low_side;
mod retire;
mod tampering;

use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use self::appliance::Appliance;
pub use self::enrolment::exchange;
pub use self::export::volumes;
use self::goods::Goods;
pub use self::high_side::activate;
use crate::clients::Clients;
use crate::netns::Namespace;
use crate::outside::Outside;
use crate::trace::Trace;

/// What the whole crossing needs; `Clients::find` says which of them is missing.
const NEEDED: [&str; 7] = ["docker-registry", "crane", "cosign", "skopeo", "podman", "containerd", "ctr"];

/// What all legs share.
struct World<'n> {
    clients: Clients,
    outside: Outside,
    goods: Goods,
    low: Appliance<'n>,
    high: Appliance<'n>,
    /// The directory that stands for the stick.
    medium: PathBuf,
    folder: TempDir,
}

#[test]
fn the_first_crossing() {
    let Some(clients) = Clients::find(&NEEDED) else { return };
    let Some(namespace) = Namespace::empty() else { return };
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(_) = Trace::to(&folder.path().join("unused")) else { return };

    let outside = Outside::start(&clients);
    let goods = leg("1, outside: images, signatures and forgeries", || Goods::push(&clients, &outside));
    let (low, high) = leg("2, enrolment", || enrolment::both_sides(folder.path(), &namespace));
    let medium = folder.path().join("stick");
    std::fs::create_dir(&medium).expect("the folder is ours");
    let mut world = World { clients, outside, goods, low, high, medium, folder };

    leg("3, low side: mirror, and the upstream dies", || low_side::mirror(&mut world));
    leg("4, export: plan, volumes, read back", || export::onto_medium(&world));
    let serving = leg("5, high side: import, refuse, serve, dial nobody", || high_side::import(&world));
    leg("9, denied: the rule in the message", || denied::by_name(&world, &serving));
    leg("8, retire: plan, apply, sweep", || retire::old_versions(&world, &serving));
    leg("5, end: nobody was dialled", || high_side::assert_silent(&world, serving));
}

/// Runs one leg. Captured output says which was under way when the test failed, and how long each took.
#[expect(clippy::disallowed_macros, reason = "a test's own output, which libtest keeps with the test")]
fn leg<T>(name: &str, action: impl FnOnce() -> T) -> T {
    println!("leg {name}");
    let start = Instant::now();
    let outcome = action();
    println!("    {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
