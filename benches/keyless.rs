//! What it costs to judge a keyless image that nobody has judged before: signatures, certificate chain, log entry, inclusion
//! and provenance, in processor time of this process.
//!
//! `cargo bench --bench keyless` (`-- 500` for as many rounds). The image is a real one among the vectors, which are looked
//! for beside the project or where `POSTERN_VECTORS` says. The promise stands in SPECIFICATION.md: 5 ms.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a measurement prints, and is told where the vectors are"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use postern::admission::{Candidate, Judgement, judge};
use postern::image_layout::LayoutContent;
use postern::sys::clock::{Clock as _, RealClock};
use postern::sys::dir_real::RealDir;
use postern::verify::TrustPolicy;

const POLICY: &str = r#"version = 1
[roots.public]
builtin = "public-good"
[identities.builder]
root = "public"
issuer = "https://token.actions.githubusercontent.com"
subject = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/*"
[[rule]]
name = "built"
repositories = ["mirror.example/**"]
[[rule.attestation]]
type = "https://slsa.dev/provenance/v0.2"
identities = ["builder"]
builders = ["https://github.com/slsa-framework/slsa-github-generator/*"]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_u32);
    let named = std::env::var_os("POSTERN_VECTORS").map(PathBuf::from);
    let vectors = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    let layout = vectors.join("image-layouts/slsa-container-v2.1.0/container_workflow_dispatch");
    if !layout.is_dir() {
        println!("SKIPPED: no vectors beside the project; set POSTERN_VECTORS to their folder");
        return Ok(());
    }
    let policy = TrustPolicy::parse(POLICY.as_bytes())?;
    let content = LayoutContent::open(Arc::new(RealDir::open(&layout)?), None)?;
    let root = content.root();
    let candidate = Candidate { repository: "mirror.example/app".parse()?, original: None, root, tags: Vec::new() };
    let mut spent: Vec<Duration> = Vec::new();
    for _ in 0..rounds {
        let before = processor_time()?;
        let judgement = judge(&policy, &candidate, &content, RealClock.wall())?;
        spent.push(processor_time()?.saturating_sub(before));
        if let Judgement::Refused { refusal, .. } = judgement {
            return Err(refusal.into());
        }
    }
    spent.sort();
    let at = |part: usize| spent.get(spent.len() * part / 100).map_or(0, |time| time.as_micros());
    println!("{rounds} rounds: median {} us, 99 of 100 within {} us of processor time", at(50), at(99));
    Ok(())
}

fn processor_time() -> Result<Duration, nix::Error> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?))
}
