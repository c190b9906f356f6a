//! Where a SLSA provenance says who built, and how.
//!
//! A path that is missing is no answer, and no answer satisfies no condition.

use serde_json::Value;

/// SLSA provenance v1.
pub const PROVENANCE_V1: &str = "https://slsa.dev/provenance/v1";
/// SLSA provenance v0.2. cosign's short name `slsaprovenance` means this one.
pub const PROVENANCE_V0_2: &str = "https://slsa.dev/provenance/v0.2";

/// Where one version keeps its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The builder's id.
    pub builder: &'static str,
    /// The build type.
    pub build_type: &'static str,
}

/// The paths for a predicate type; `None` where the type is no provenance that is understood.
pub fn paths(predicate_type: &str) -> Option<Paths> {
    match predicate_type {
        PROVENANCE_V1 => Some(Paths { builder: "/runDetails/builder/id", build_type: "/buildDefinition/buildType" }),
        PROVENANCE_V0_2 => Some(Paths { builder: "/builder/id", build_type: "/buildType" }),
        _ => None,
    }
}

/// The text at `path` (a JSON pointer) of a predicate.
pub fn text_at<'a>(predicate: &'a Value, path: &str) -> Option<&'a str> {
    predicate.pointer(path)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::{PROVENANCE_V0_2, PROVENANCE_V1, paths, text_at};

    #[test]
    fn each_version_keeps_its_answers_elsewhere() {
        let v1 = serde_json::json!({"runDetails": {"builder": {"id": "b"}}, "buildDefinition": {"buildType": "t"}});
        let v02 = serde_json::json!({"builder": {"id": "b"}, "buildType": "t"});
        let check = |predicate_type: &str, predicate: &serde_json::Value, expected: Option<&str>| {
            let paths = paths(predicate_type).unwrap();
            assert_eq!(text_at(predicate, paths.builder), expected);
            assert_eq!(text_at(predicate, paths.build_type), expected.map(|_| "t"));
        };
        check(PROVENANCE_V1, &v1, Some("b"));
        check(PROVENANCE_V0_2, &v02, Some("b"));
        check(PROVENANCE_V1, &v02, None);
        check(PROVENANCE_V0_2, &v1, None);
        assert_eq!(paths("https://cyclonedx.org/bom"), None);
    }
}
