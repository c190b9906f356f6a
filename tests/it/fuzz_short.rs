//! Every parser of foreign bytes with some thousand mutated inputs, the same ones each time. The long runs, guided by
//! coverage, are in `fuzz/`; this one notices on any machine and any toolchain that a parser has learnt to panic.

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::panic::catch_unwind;
use std::time::Duration;

use entries::ENTRIES;
use nix::time::ClockId;

const INPUTS_COUNT: usize = 6_000;
const INPUT_BYTES_MAX: usize = 4_096;
/// An entry that computes for longer than this loops or allocates in proportion to a number it has read.
const ENTRY_SECONDS_MAX: u64 = 60;

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 14] = [
    b"\0",
    b"\"",
    b"{",
    b"[",
    b"}",
    b":",
    b"/../",
    b"\\u0000",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"\xff\xfe",
    b"sha256:",
    b"null",
];

/// xorshift64*: the same inputs on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap_or(0) % bound.max(1)
    }
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(32)).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = u8::try_from(random.below(256)).unwrap_or(0),
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
        5 => {
            let piece = input[at..end].to_vec();
            drop(input.splice(at..at, piece));
        }
        _ => {
            let from = random.below(other.len() + 1);
            drop(input.splice(at..end, other[from..].iter().take(64).copied()));
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// The `index`-th input made from `seeds`: themselves, then ever more mutated ones.
fn input(seeds: &[Vec<u8>], index: usize) -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    let mut input = seeds[index % seeds.len()].clone();
    let other = &seeds[random.below(seeds.len())];
    for _ in 0..random.below(6).min(index / seeds.len()) {
        mutate(&mut random, &mut input, other);
    }
    input
}

/// Time that this thread has computed: what others do on the machine does not count.
fn computed() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("the kernel counts it").into()
}

#[test]
fn no_parser_panics() {
    for entry in ENTRIES {
        let started = computed();
        let seeds = (entry.seeds)();
        for index in 0..INPUTS_COUNT {
            let bytes = input(&seeds, index);
            let outcome = catch_unwind(|| (entry.run)(&bytes));
            assert!(outcome.is_ok(), "'{}' panics at input {index}: {:?}", entry.name, String::from_utf8_lossy(&bytes));
        }
        let needed = computed().saturating_sub(started);
        assert!(needed < Duration::from_secs(ENTRY_SECONDS_MAX), "'{}' needed {needed:?}", entry.name);
    }
}

/// The list here, the targets on disk and the manifest of the fuzz workspace name the same parsers.
#[test]
fn every_entry_is_a_fuzz_target() {
    let declared = include_str!("../../fuzz/Cargo.toml");
    for entry in ENTRIES {
        let line = format!("path = \"fuzz_targets/{}.rs\"", entry.name);
        assert!(declared.contains(&line), "fuzz/Cargo.toml does not declare '{}'", entry.name);
    }
    assert_eq!(declared.matches("[[bin]]").count(), ENTRIES.len(), "fuzz/Cargo.toml declares targets with no entry");
}
