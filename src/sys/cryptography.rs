//! Which cryptographic module is linked, whether it is the validated one, and what it and the kernel say of themselves.

use super::dir::{Dir as _, DirError};
use super::dir_real::RealDir;

/// The version whose validation the FIPS edition stands on, as the module itself writes it.
const VALIDATED_MODULE: &str = "AWS-LC FIPS 3.1.0";
/// Its certificate (static build of module 3.1).
const CERTIFICATE: &str = "#5314";
const STATEMENT: &str = "uses AWS-LC FIPS module #5314 in approved mode; operational environment vendor-affirmed unless \
                         listed";

const KERNEL_DIRECTORY: &str = "/proc/sys/crypto";
const KERNEL_FLAG: &str = "fips_enabled";

/// What this binary's cryptography is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cryptography {
    /// `fips` or `standard`.
    pub edition: &'static str,
    /// Name and version, as the module writes them.
    pub module: String,
    /// Only where the module is the validated version.
    pub certificate: Option<&'static str>,
    pub self_test: SelfTest,
    /// Why this binary is no FIPS edition; nothing where it is one.
    pub not_fips: Option<&'static str>,
}

/// What the module says of its power-on self-test. One that fails ends the process before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTest {
    Passed,
    /// The module is not running in approved mode.
    NotApproved,
    /// A standard edition's library has no self-test of this kind.
    None,
}

/// Why FIPS cryptography cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FipsError {
    #[error("this binary has no FIPS module: {0}")]
    Absent(&'static str),
    #[error("the module '{0}' is not the validated one ({VALIDATED_MODULE}, certificate {CERTIFICATE})")]
    NotValidated(String),
    #[error("the module '{0}' is not in approved mode")]
    NotApproved(String),
}

impl Cryptography {
    /// Asks the module that is linked.
    pub fn linked() -> Self {
        let module = linked_module();
        Self {
            edition: if cfg!(feature = "fips") { "fips" } else { "standard" },
            certificate: (cfg!(feature = "fips") && module == VALIDATED_MODULE).then_some(CERTIFICATE),
            module,
            self_test: match (cfg!(feature = "fips"), aws_lc_rs::try_fips_mode()) {
                (false, _) => SelfTest::None,
                (true, Ok(())) => SelfTest::Passed,
                (true, Err(_)) => SelfTest::NotApproved,
            },
            not_fips: reason_of(cfg!(feature = "fips"), cfg!(target_arch = "arm")),
        }
    }

    /// Whether it is the validated module, there and in approved mode.
    pub fn require_fips(&self) -> Result<(), FipsError> {
        match (self.not_fips, self.certificate, self.self_test) {
            (Some(reason), _, _) => Err(FipsError::Absent(reason)),
            (None, None, _) => Err(FipsError::NotValidated(self.module.clone())),
            (None, Some(_), SelfTest::Passed) => Ok(()),
            (None, Some(_), _) => Err(FipsError::NotApproved(self.module.clone())),
        }
    }

    /// What may be said of it to an auditor, word for word; nothing where it would not be true.
    pub fn statement(&self) -> Option<&'static str> {
        self.require_fips().is_ok().then_some(STATEMENT)
    }
}

const fn reason_of(is_fips_edition: bool, is_arm_32: bool) -> Option<&'static str> {
    match (is_fips_edition, is_arm_32) {
        (_, true) => Some("it is for armv7, and AWS-LC's FIPS module exists for 64-bit processors only"),
        (false, false) => Some("it is the standard edition"),
        (true, false) => None,
    }
}

#[cfg(not(feature = "fips"))]
fn linked_module() -> String {
    format!("AWS-LC {}", aws_lc_rs::awslc_version())
}

#[cfg(feature = "fips")]
#[expect(unsafe_code, reason = "this version of the safe crate has no call for the module's own version")]
fn linked_module() -> String {
    // SAFETY: the function takes nothing and returns a constant of the module, a text that ends with a zero byte.
    let text = unsafe { std::ffi::CStr::from_ptr(aws_lc_fips_sys::awslc_version_string()) };
    text.to_string_lossy().into_owned()
}

/// The kernel's own FIPS flag; `false` where the kernel has none.
pub fn kernel_is_fips() -> Result<bool, DirError> {
    // A kernel built without the flag has neither the file nor, sometimes, its directory.
    let file = match RealDir::open(KERNEL_DIRECTORY.as_ref()).and_then(|dir| dir.open(KERNEL_FLAG)) {
        Err(error) if error.is_not_found() => return Ok(false),
        opened => opened?,
    };
    let mut first = [0];
    let read = file.read_at(&mut first, 0);
    read.map_err(|source| DirError { operation: "read", path: format!("{KERNEL_DIRECTORY}/{KERNEL_FLAG}"), source })?;
    Ok(first == *b"1")
}

#[cfg(test)]
mod tests {
    use super::{CERTIFICATE, Cryptography, FipsError, SelfTest, VALIDATED_MODULE, reason_of};

    fn validated() -> Cryptography {
        Cryptography {
            edition: "fips",
            module: VALIDATED_MODULE.to_owned(),
            certificate: Some(CERTIFICATE),
            self_test: SelfTest::Passed,
            not_fips: None,
        }
    }

    #[test]
    fn only_the_validated_module_in_approved_mode_is_fips() {
        assert_eq!(validated().require_fips(), Ok(()));
        assert!(validated().statement().is_some());
        let check = |changed: Cryptography, expected: FipsError| {
            assert_eq!(changed.require_fips(), Err(expected));
            assert_eq!(changed.statement(), None);
        };
        let absent = reason_of(false, false).unwrap();
        check(Cryptography { not_fips: Some(absent), ..validated() }, FipsError::Absent(absent));
        let module = "AWS-LC FIPS 4.0.0".to_owned();
        let newer = Cryptography { module: module.clone(), certificate: None, ..validated() };
        check(newer, FipsError::NotValidated(module));
        let failed = Cryptography { self_test: SelfTest::NotApproved, ..validated() };
        check(failed, FipsError::NotApproved(VALIDATED_MODULE.to_owned()));
    }

    #[test]
    fn armv7_is_never_fips_and_says_why() {
        for is_fips_edition in [true, false] {
            assert!(reason_of(is_fips_edition, true).unwrap().contains("armv7"));
        }
        assert_eq!(reason_of(true, false), None);
    }

    /// The edition that is linked says of itself what it is, and nothing more.
    #[test]
    fn what_is_linked_claims_what_is_true() {
        let linked = Cryptography::linked();
        if cfg!(feature = "fips") {
            assert_eq!(linked, validated());
        } else {
            assert!(linked.module.starts_with("AWS-LC "), "{linked:?}");
            assert_eq!((linked.certificate, linked.self_test, linked.statement()), (None, SelfTest::None, None));
            assert!(matches!(linked.require_fips(), Err(FipsError::Absent(_))));
        }
    }
}
