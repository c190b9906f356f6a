//! Images as people build them, small and the same on every run: content depends on names alone, so that a digest in
//! a failure report means the same thing tomorrow.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Image, Outside};
use crate::process;

/// Debian's architecture, and the platform as OCI names it. Both of Arm's forms: the variant has to survive.
pub const PLATFORMS: [(&str, &str); 3] =
    [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7")];

/// In this order of age. v1.10.0 is there because it comes before v1.2.0 to whoever compares text.
pub const SEMVER_TAGS: [&str; 5] = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.10.0", "v2.0.0"];

/// What each version of the semver image has for itself: enough bytes for a sweep to be seen giving them back.
pub const UNIQUE_BYTES: usize = 64 * 1024;

impl Outside {
    /// An index of three platforms, each a busybox of that architecture with a marker file that names it.
    #[track_caller]
    pub fn push_multi_platform(&self, repository: &str, tag: &str) -> Image {
        let layers = Layers::new();
        let children: Vec<_> = PLATFORMS
            .iter()
            .map(|(architecture, platform)| {
                let marker = format!("{repository}:{tag} for {platform}\n");
                let layer = layers.tar(
                    architecture,
                    &[("bin/busybox", self.busybox(architecture), 0o755), ("etc/image", marker.into_bytes(), 0o644)],
                );
                self.push_platform(repository, &[layer], platform)
            })
            .collect();
        let name = format!("{}/{repository}:{tag}", self.address());
        let mut arguments = vec!["index".to_owned(), "append".to_owned(), "-t".to_owned(), name.clone()];
        arguments.extend(children.into_iter().flat_map(|child| ["-m".to_owned(), child]));
        self.clients().succeed("crane", arguments);
        self.image(repository, tag)
    }

    /// An image of one platform (linux/amd64). Its content follows from its name, so two names are two digests.
    #[track_caller]
    pub fn push_single(&self, repository: &str, tag: &str) -> Image {
        let layers = Layers::new();
        let unique = unique_bytes(&format!("{repository}:{tag}"));
        let pinned = self.push_platform(
            repository,
            &[
                layers.tar("base", &[("bin/busybox", self.busybox("amd64"), 0o755)]),
                layers.tar("unique", &[("data/unique", unique, 0o644)]),
            ],
            "linux/amd64",
        );
        self.clients().succeed("crane", ["tag", &pinned, tag]);
        self.image(repository, tag)
    }

    /// Five versions: one base layer shared by all, one layer of `UNIQUE_BYTES` for each. Oldest first.
    #[track_caller]
    pub fn push_semver(&self, repository: &str) -> Vec<Image> {
        SEMVER_TAGS.iter().map(|tag| self.push_single(repository, tag)).collect()
    }

    /// What the registry has under that tag now.
    #[track_caller]
    pub fn image(&self, repository: &str, tag: &str) -> Image {
        let digest = self.clients().succeed("crane", ["digest", &format!("{}/{repository}:{tag}", self.address())]);
        let (address, tag) = (self.address().to_owned(), tag.to_owned());
        Image { address, repository: repository.to_owned(), tag, digest }
    }

    /// Pushed by digest alone: a helper's tag would be listed, mirrored and retired like any other. Gives the pinned
    /// name.
    fn push_platform(&self, repository: &str, layers: &[PathBuf], platform: &str) -> String {
        // `append` insists on a tag; a repository of its own keeps it out of sight.
        let scratch = format!("{}/scratch/{repository}:{}", self.address(), platform.replace('/', "-"));
        let mut arguments = vec!["append".to_owned(), "--oci-empty-base".to_owned(), "-t".to_owned(), scratch.clone()];
        for layer in layers {
            arguments.extend(["-f".to_owned(), layer.display().to_string()]);
        }
        self.clients().succeed("crane", arguments);
        let target = format!("{}/{repository}", self.address());
        let fixed = ["mutate", "--set-platform", platform, "--entrypoint", "/bin/busybox", "--repo", &target, &scratch];
        let answer = self.clients().succeed("crane", fixed);
        assert!(answer.contains("@sha256:"), "crane mutate should name what it pushed: {answer:?}");
        answer
    }

    fn busybox(&self, architecture: &str) -> Vec<u8> {
        std::fs::read(self.clients().busybox(architecture))
            .expect("tests/clients/fetch lays busybox beside the clients")
    }
}

/// Layers as tar files, gone with this value.
struct Layers {
    folder: TempDir,
}

impl Layers {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder can be made") }
    }

    /// The machine's own tar, told to leave out everything that differs from run to run.
    fn tar(&self, name: &str, files: &[(&str, Vec<u8>, u32)]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let tree = self.folder.path().join(name);
        for (path, content, mode) in files {
            let path = tree.join(path);
            let parent = path.parent().expect("a file in the tree has a folder");
            std::fs::create_dir_all(parent).expect("the folder is ours");
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
            std::fs::write(&path, content).expect("the folder is ours");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).expect("the file is ours");
        }
        let archive = self.folder.path().join(format!("{name}.tar"));
        let mut command = Command::new("tar");
        command
            .args(["--format=ustar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"])
            .args(["--mode=u+rwX,go+rX,go-w", "-C"])
            .arg(&tree)
            .arg("-cf")
            .arg(&archive)
            // Names without "./", as most builders write them.
            .args(files.iter().map(|(path, _, _)| path.split('/').next().expect("a path has a first part")));
        process::run(command, Duration::from_secs(60)).succeeded();
        archive
    }
}

/// Bytes that do not compress, and that follow from the name (xorshift, seeded by FNV-1a).
fn unique_bytes(name: &str) -> Vec<u8> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(UNIQUE_BYTES);
    while bytes.len() < UNIQUE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
