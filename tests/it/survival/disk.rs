//! A file system in a file, mounted by a loop device, whose power can be cut.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::skip;

const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE_BYTES: u64 = 400 << 20;

/// What can be made and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

/// Unmounted when dropped.
pub struct Disk {
    image: PathBuf,
    pub mount: PathBuf,
    is_mounted: bool,
}

fn run<A: AsRef<std::ffi::OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> process::Ran {
    let mut command = Command::new(program);
    command.args(arguments);
    process::run(command, PATIENCE)
}

impl Disk {
    /// Made and mounted below `folder`; a skip where that cannot be done.
    #[track_caller]
    pub fn make(folder: &Path, kind: Kind, bytes: Option<u64>) -> Option<Self> {
        if !skip::is_root() {
            skip::absent("loop devices are for root", "run this test as root");
            return None;
        }
        let (maker, package) = match kind {
            Kind::Ext4 => ("mkfs.ext4", "e2fsprogs"),
            Kind::Xfs => ("mkfs.xfs", "xfsprogs"),
        };
        let maker = skip::machine_tool(maker, package)?;
        skip::machine_tool("xfs_io", "xfsprogs")?;
        let image = folder.join("disk.img");
        let file = std::fs::File::create(&image).expect("the folder is ours");
        file.set_len(bytes.unwrap_or(IMAGE_BYTES)).expect("a sparse file");
        run(&maker, [Path::new("-q"), &image]).succeeded();
        let mount = folder.join("mount");
        std::fs::create_dir(&mount).expect("the folder is ours");
        let mut disk = Self { image, mount, is_mounted: false };
        if !disk.try_mount() {
            skip::impossible("no loop device can be mounted here", "run this test on a machine with loop devices");
            return None;
        }
        Some(disk)
    }

    /// The whole device as it is at this moment, beside it. The file system below shares blocks between files.
    #[track_caller]
    pub fn copy(&self, name: &str) -> PathBuf {
        let copy = self.image.with_file_name(name);
        run(Path::new("cp"), [Path::new("--reflink=always"), &self.image, &copy]).succeeded();
        copy
    }

    /// Such a copy, mounted; it is gone when dropped.
    #[track_caller]
    pub fn of_copy(image: PathBuf, mount: PathBuf) -> Self {
        std::fs::create_dir(&mount).expect("the folder is ours");
        let mut disk = Self { image, mount, is_mounted: false };
        assert!(disk.try_mount(), "a copy is mounted");
        disk
    }

    fn try_mount(&mut self) -> bool {
        let arguments = [Path::new("-o"), Path::new("loop"), &self.image, &self.mount];
        self.is_mounted = run(Path::new("mount"), arguments).status.success();
        self.is_mounted
    }

    /// From here nothing reaches the disk: what was not synced and is not on its way is gone.
    #[track_caller]
    pub fn cut_power(&self) {
        let xfs_io = skip::machine_tool("xfs_io", "xfsprogs").expect("it was there when the disk was made");
        let arguments = ["-x", "-c", "shutdown"].map(Path::new);
        run(&xfs_io, arguments.into_iter().chain([self.mount.as_path()])).succeeded();
    }

    /// Off and on again, as at the next start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.unmount();
        assert!(self.try_mount(), "the file system is mounted again");
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.is_mounted) {
            process::wait_for("the file system to be free", PATIENCE, || {
                run(Path::new("umount"), [&self.mount]).status.success().then_some(())
            });
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Also when a test has failed in the middle: no device is left behind.
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}
