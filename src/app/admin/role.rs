//! What somebody may ask for over a socket of their own: roles at the machine, each with a group. Pure.
//!
//! An operation that is not named here is for operators.

use crate::app::accounts::AccessOrder;
use crate::app::operation::Operation;
use crate::config::file::AdminRoleName;

/// Who is on the other side of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRole {
    /// Looks at everything and changes nothing.
    Auditor,
    /// Carries images over the gap: fetches, plans, exports, imports, and looks at what is there.
    Officer,
    /// May everything.
    Operator,
}

impl From<AdminRoleName> for LocalRole {
    fn from(name: AdminRoleName) -> Self {
        match name {
            AdminRoleName::Auditor => Self::Auditor,
            AdminRoleName::Officer => Self::Officer,
        }
    }
}

impl LocalRole {
    /// Its name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Officer => "officer",
            Self::Operator => "operator",
        }
    }

    /// Whether this role may have `operation` carried out.
    pub fn may(self, operation: &Operation) -> bool {
        match self {
            Self::Operator => true,
            Self::Auditor => only_looks(operation),
            Self::Officer => {
                // Who may do what is between operators and auditors.
                let carries = matches!(
                    operation,
                    Operation::BundleExport(_)
                        | Operation::BundleImport { .. }
                        | Operation::BundleReceiptRead { .. }
                        | Operation::MirrorFetch { .. }
                );
                carries || (only_looks(operation) && !matches!(operation, Operation::Access(_)))
            }
        }
    }
}

fn only_looks(operation: &Operation) -> bool {
    match operation {
        Operation::Status
        | Operation::EnrolShow
        | Operation::EnrolList
        | Operation::PolicyShow
        | Operation::PolicyTest { .. }
        | Operation::VerifyOutside { .. }
        | Operation::BundlePlan(_)
        | Operation::BundleInspect { .. }
        | Operation::BundleReceipts
        | Operation::BundleReceipt { .. }
        | Operation::ImageList { .. }
        | Operation::ImageShow { .. }
        | Operation::RetentionPlan
        | Operation::AuditVerify
        | Operation::StoreCheck { .. } => true,
        Operation::Trust(order) => order.only_looks(),
        Operation::SiteKey { create } => !create,
        Operation::EnrolRemove { dry_run, .. } | Operation::Sweep { dry_run, .. } => *dry_run,
        Operation::Access(order) => {
            matches!(
                order,
                AccessOrder::ProjectList | AccessOrder::UserList | AccessOrder::RobotList { .. } | AccessOrder::Report
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::LocalRole;
    use crate::app::operation::Operation;

    fn operation(text: &str) -> Operation {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_role_has_its_own() {
        let check = |text: &str, auditor: bool, officer: bool| {
            let operation = operation(text);
            assert_eq!(
                (LocalRole::Auditor.may(&operation), LocalRole::Officer.may(&operation)),
                (auditor, officer),
                "{text}"
            );
            assert!(LocalRole::Operator.may(&operation));
        };
        check(r#"{"operation":"status"}"#, true, true);
        check(r#"{"operation":"image_list","repository":null}"#, true, true);
        check(r#"{"operation":"bundle_import","medium":"/media/stick","set":null}"#, false, true);
        check(r#"{"operation":"mirror_fetch","references":[]}"#, false, true);
        check(r#"{"operation":"access","order":"report"}"#, true, false);
        check(r#"{"operation":"access","order":"user_unlock","name":"anna"}"#, false, false);
        check(r#"{"operation":"sweep","grace_seconds":null,"dry_run":true}"#, true, true);
        check(r#"{"operation":"sweep","grace_seconds":null,"dry_run":false}"#, false, false);
        check(r#"{"operation":"policy_activate","text":""}"#, false, false);
        check(r#"{"operation":"trust","order":"list"}"#, true, true);
        check(r#"{"operation":"trust","order":"activate","objects":[],"agreed":false,"dry_run":true}"#, true, true);
        check(r#"{"operation":"trust","order":"activate","objects":[],"agreed":true,"dry_run":false}"#, false, false);
        check(r#"{"operation":"site_key","create":false}"#, true, true);
        check(r#"{"operation":"sign","reference":"a/b:1"}"#, false, false);
        check(r#"{"operation":"store_rebuild"}"#, false, false);
        check(r#"{"operation":"audit_verify"}"#, true, true);
        check(r#"{"operation":"audit_checkpoint"}"#, false, false);
        check(r#"{"operation":"retention_apply"}"#, false, false);
    }
}
