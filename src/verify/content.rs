//! What an image holds, as far as rules ask: facts out of its config and its layers. Nothing in here decides.
//!
//! The bytes hash to what was signed; who wrote them chose what they say. A fact that could not be found is a reason, never
//! an empty answer: a rule that asks for it is not satisfied.

use std::collections::BTreeMap;

use globset::GlobSet;
use jiff::Timestamp;
use serde_json::Value;

use super::strict_json;
use crate::limits::{CONFIG_BYTES_MAX, LABELS_COUNT_MAX};
use crate::oci::digest::Digest;
use crate::oci::folded_keys;

/// What the rules about an image want to know of its layers.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whether any rule asks about files or sizes.
    pub files: bool,
    /// Whether any asks who the image's user is: one that is a name stands in a file.
    pub users: bool,
    /// Paths that a rule forbids.
    pub forbidden: GlobSet,
    /// Names these paths: what was found of a layer holds for the same question alone.
    pub digest: Digest,
}

/// One image of those that want to come in: the image itself, or a platform of an index.
#[derive(Clone, Debug)]
pub struct ImageContent {
    pub manifest: Digest,
    pub config: Result<ImageConfig, String>,
    pub files: Result<Files, String>,
}

/// What a config says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform, for people.
    pub platform: String,
    pub user: String,
    pub labels: BTreeMap<String, String>,
    /// When the first layer was made, which is the base's; where the history says nothing, when the image was.
    pub base_created: Option<Timestamp>,
}

/// What the layers hold, one over the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Bytes of all files of all layers, unpacked; what a later layer takes away is carried all the same.
    pub unpacked_bytes: u64,
    /// Paths that are visible in the end and about which a rule may ask, sorted.
    pub found: Vec<String>,
    /// Users by name with their numbers, where there is a list of them.
    pub users: BTreeMap<String, u32>,
}

/// Programs that take commands.
pub const SHELLS: [&str; 19] = [
    "sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "oksh", "yash", "fish", "csh", "tcsh",
    "busybox", "toybox", "pwsh", "nu", "xonsh",
];

/// Programs that bring other programs.
pub const PACKAGE_MANAGERS: [&str; 28] = [
    "apt",
    "apt-get",
    "aptitude",
    "dpkg",
    "rpm",
    "yum",
    "dnf",
    "dnf5",
    "microdnf",
    "tdnf",
    "zypper",
    "apk",
    "pacman",
    "opkg",
    "xbps-install",
    "emerge",
    "nix-env",
    "brew",
    "conda",
    "mamba",
    "pip",
    "pip3",
    "pipx",
    "gem",
    "npm",
    "npx",
    "yarn",
    "pnpm",
];

/// Whether a program of one of these names lies at `path`: in a directory that is called `bin` or `sbin`.
pub fn is_program(path: &str, names: &[&str]) -> bool {
    let mut components = path.rsplit('/');
    let name = components.next().unwrap_or_default();
    matches!(components.next(), Some("bin" | "sbin")) && names.contains(&name)
}

/// Longest user in a config that is read.
const USER_LETTERS_MAX: usize = 1_000;

/// Who an image runs as, by what its config says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User<'a> {
    /// It says nobody, which is root.
    Nobody,
    Number(u32),
    Name(&'a str),
    /// Neither a number nor a name to every runtime.
    Unclear(&'a str),
}

impl<'a> User<'a> {
    /// What stands before the group.
    pub fn of(written: &'a str) -> Self {
        let (user, _) = written.split_once(':').unwrap_or((written, ""));
        let is_name = user.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        match user_number(user) {
            _ if user.is_empty() => Self::Nobody,
            Some(number) => Self::Number(number),
            None if is_name => Self::Name(user),
            None => Self::Unclear(user),
        }
    }
}

/// A user's number: digits and nothing else, which some runtimes hold in 31 bits, and take one above them for another.
fn user_number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= i32::MAX.unsigned_abs())
}

impl Wanted {
    /// Whether the layers of an image with this config must be looked into.
    pub fn needs_layers(&self, config: &ImageConfig) -> bool {
        self.files || (self.users && matches!(User::of(&config.user), User::Name(_)))
    }

    /// Whether a rule may ask about this path.
    pub fn is_asked_about(&self, path: &str) -> bool {
        is_program(path, &SHELLS) || is_program(path, &PACKAGE_MANAGERS) || self.forbidden.is_match(path)
    }
}

/// What rules ask of a config, and runtimes read in it.
const CONFIG_KEYS: [&str; 13] = [
    "architecture",
    "os",
    "variant",
    "created",
    "config",
    "history",
    "rootfs",
    "User",
    "Labels",
    "Entrypoint",
    "Cmd",
    "Env",
    "diff_ids",
];

impl ImageConfig {
    /// Parses an image's config (OCI image specification, "Image Configuration"; Docker's is the same).
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err("its config is longer than is read".to_owned());
        }
        let value = strict_json::parse(bytes).map_err(|error| format!("its config cannot be read: {error}"))?;
        if !value.is_object() {
            return Err("its config is no object".to_owned());
        }
        if let Some(key) = folded_keys::find(bytes, &CONFIG_KEYS, &["Labels"]) {
            return Err(format!("its config has the key '{key}', which runtimes take for another one"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().chars().take(1_000).collect::<String>();
        let user = value["config"]["User"].as_str().unwrap_or_default();
        if user.chars().count() > USER_LETTERS_MAX {
            return Err("its config's user is longer than is read".to_owned());
        }
        // Whole: what is cut off could be what a rule looks for.
        let mut labels = BTreeMap::new();
        for (key, value) in value["config"]["Labels"].as_object().into_iter().flatten() {
            labels.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        if labels.len() > LABELS_COUNT_MAX {
            return Err("its config has more labels than are read".to_owned());
        }
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let history = value["history"].as_array().into_iter().flatten();
        let parts = ["os", "architecture", "variant"].map(|key| text(&value[key]));
        let platform: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Ok(Self {
            platform: platform.join("/"),
            user: user.to_owned(),
            labels,
            base_created: history
                .map(|entry| time(&entry["created"]))
                .next()
                .unwrap_or_else(|| time(&value["created"])),
        })
    }
}

impl Files {
    /// The users of an `etc/passwd`. A name that stands twice with two numbers is no user.
    ///
    /// Runtimes cut blanks off a line and take what a short one lacks for nought, which is root; others pass over it. A list
    /// with such a line says nothing of anybody.
    pub fn parse_users(bytes: &[u8]) -> BTreeMap<String, u32> {
        const FIELDS_COUNT: usize = 7;
        let mut users: BTreeMap<String, Option<u32>> = BTreeMap::new();
        for line in String::from_utf8_lossy(bytes).split('\n').filter(|line| !line.is_empty()) {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, ..] = fields[..] else { return BTreeMap::new() };
            if line.trim() != line || fields.len() < FIELDS_COUNT {
                return BTreeMap::new();
            }
            let number = user_number(number);
            users
                .entry(name.to_owned())
                .and_modify(|known| *known = known.filter(|_| *known == number))
                .or_insert(number);
        }
        users.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Files, ImageConfig, PACKAGE_MANAGERS, SHELLS, User, is_program};
    use crate::limits::LABELS_COUNT_MAX;

    #[test]
    fn programs_are_known_by_their_name_where_programs_lie() {
        for (path, expected) in [
            ("bin/sh", true),
            ("usr/bin/bash", true),
            ("usr/local/sbin/ash", true),
            ("opt/x/bin/busybox", true),
            ("bin/shx", false),
            ("usr/share/bash", false),
            ("sh", false),
            ("xbin/sh", false),
            ("bin/sh/x", false),
        ] {
            assert_eq!(is_program(path, &SHELLS), expected, "{path}");
        }
        assert!(is_program("usr/bin/apt-get", &PACKAGE_MANAGERS) && !is_program("usr/bin/apt-file", &PACKAGE_MANAGERS));
    }

    #[test]
    fn a_config_is_read_and_what_is_no_config_is_a_reason() {
        let text = r#"{"os": "linux", "architecture": "arm", "variant": "v7", "created": "2026-02-01T00:00:00Z",
            "config": {"User": "app", "Labels": {"a": "b"}}, "history": [{"created": "2026-01-01T00:00:00Z"}, {}]}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!((config.platform.as_str(), config.user.as_str()), ("linux/arm/v7", "app"));
        assert_eq!(config.labels["a"], "b");
        assert_eq!(config.base_created, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let without = ImageConfig::parse(br#"{"created": "2026-02-01T00:00:00Z", "history": []}"#).unwrap();
        assert_eq!(without.base_created, Some("2026-02-01T00:00:00Z".parse().unwrap()));
        // A first layer without a time is not made younger by the image's own.
        let silent = br#"{"created": "2026-02-01T00:00:00Z", "history": [{"created_by": "x"}]}"#;
        assert_eq!(ImageConfig::parse(silent).unwrap().base_created, None);
        for bad in ["", "[]", "{\"os\": 1, \"os\": 2}"] {
            assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let with_labels = |count: usize| {
            let labels: BTreeMap<String, String> = (0..count).map(|at| (at.to_string(), "x".repeat(2_000))).collect();
            ImageConfig::parse(serde_json::json!({"config": {"Labels": labels}}).to_string().as_bytes())
        };
        assert_eq!(with_labels(1).unwrap().labels["0"].len(), 2_000);
        let many = r#"{"config": {"Labels": {LABELS}}}"#;
        let labels: Vec<String> = (0..=LABELS_COUNT_MAX).map(|at| format!("\"{at}\": \"\"")).collect();
        let many = many.replace("LABELS}", &format!("{}}}", labels.join(",")));
        assert!(ImageConfig::parse(many.as_bytes()).unwrap_err().contains("more labels than are read"));
        let with_user = |user: String| ImageConfig::parse(format!(r#"{{"config": {{"User": "{user}"}}}}"#).as_bytes());
        assert_eq!(with_user("a".repeat(1_000)).unwrap().user.len(), 1_000);
        // What is cut off could be what makes another user of it.
        assert!(with_user("a".repeat(1_001)).unwrap_err().contains("longer than is read"));
    }

    #[test]
    fn users_are_read_and_an_ambiguous_one_is_none() {
        let good = "root:x:0:0::/:/bin/sh\n\napp:x:1000:1000:::\ntwo:x:1:1:::\ntwo:x:0:0:::\nodd:x:y::::\nplus:x:+5::::\n\
                    large:x:4294967296::::\n";
        let users = |text: &str| Files::parse_users(text.as_bytes()).into_iter().collect::<Vec<_>>();
        assert_eq!(users(good), [("app".to_owned(), 1000), ("root".to_owned(), 0)]);
        for bad in ["app", "app:x:0", " app:x:0:0:::", "app:x:0:0:::\r", "app:x:0:0:::\t", " ", "app:x:0:0::"] {
            assert_eq!(users(&format!("{good}{bad}\n")), [], "{bad:?}");
        }
    }

    #[test]
    fn a_user_is_a_number_or_a_name_to_everybody_or_unclear() {
        for (written, expected) in [
            ("", User::Nobody),
            (":5", User::Nobody),
            ("0", User::Number(0)),
            ("00:1", User::Number(0)),
            ("2147483647", User::Number(2_147_483_647)),
            ("_a.B-9:0", User::Name("_a.B-9")),
            ("-0", User::Unclear("-0")),
            ("+0", User::Unclear("+0")),
            ("2147483648", User::Unclear("2147483648")),
            ("4294967296", User::Unclear("4294967296")),
            (" app", User::Unclear(" app")),
            ("app\n", User::Unclear("app\n")),
            ("9a", User::Unclear("9a")),
            ("\u{e4}pp", User::Unclear("\u{e4}pp")),
        ] {
            assert_eq!(User::of(written), expected, "{written:?}");
        }
    }
}
