//! A disk that is full: pushes are refused, giving something up works, and all goes on without a restart.

use tempfile::TempDir;

use super::disk::{Disk, Kind};
use super::workload::{Book, appliance};

const DISK_BYTES: u64 = 96 << 20;

#[test]
fn at_a_hundred_percent_sweeping_works_and_everything_goes_on_without_a_restart() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(disk) = Disk::make(folder.path(), Kind::Ext4, Some(DISK_BYTES)) else { return };
    let appliance = appliance(&disk.mount);
    let serving = appliance.serve();
    let mut book = Book::default();
    assert!(book.push(&serving.endpoint));
    // Layers that no manifest needs, until there is no room for them.
    let mut pushed = 0_usize;
    let status = loop {
        let layer =
            [vec![u8::try_from(pushed % 251).expect("below 251"); 3 << 20], pushed.to_le_bytes().to_vec()].concat();
        let target = format!("/v2/waste/blobs/uploads/?digest={}", crate::outside::signing::sha256(&layer));
        match crate::push::wire::send(&serving.endpoint, "POST", &target, &layer) {
            Ok(response) if response.status == 201 => pushed += 1,
            Ok(response) => break response.status,
            Err(error) => panic!("the server went away: {error}"),
        }
        assert!(pushed < 100, "the disk was never full");
    };
    assert!(status == 507 || status == 503, "{status}");
    assert!(!book.push(&serving.endpoint), "nothing is taken on a full disk");
    book.check(&serving);
    // To the last byte, as something else on this disk may do.
    let filler = std::fs::File::create(disk.mount.join("filler")).expect("a name fits");
    let mut at = 0;
    while std::os::unix::fs::FileExt::write_at(&filler, &[1; 4096], at).is_ok_and(|count| count > 0) {
        at += 4096;
    }
    let refused = appliance.json(["status"]);
    assert_eq!(refused["read_only"], serde_json::Value::Null, "{refused}");
    let swept = appliance.json(["sweep", "--grace-seconds", "0"]);
    assert!(swept["unlinked"].as_u64().unwrap_or(0) > 0, "{swept}");
    std::fs::remove_file(disk.mount.join("filler")).expect("it is there");
    assert!(book.push(&serving.endpoint), "room was made, and nothing was restarted");
    book.check(&serving);
    drop(serving);
    appliance.run(["store", "check"]).succeeded();
}
