#![no_main]

#[path = "../entries.rs"]
#[expect(dead_code, reason = "seeds are for the run on the stable toolchain")]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let entry = entries::ENTRIES.iter().find(|entry| entry.name == "rego");
    (entry.expect("the list names this target").run)(bytes);
});
