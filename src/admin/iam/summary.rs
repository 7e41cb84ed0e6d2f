//! How many there are.

use super::Desk;
use crate::admin::Result;
use crate::admin::documents::{ATTACHED, POLICY, TRUST, inline_quota};
use crate::metadata::PrincipalKind;

impl Desk<'_> {
    /// Nobody can sign in elsewhere, so that there is no such place.
    pub(super) fn providers(&mut self) -> Result<()> {
        self.may("*")?;
        self.xml.list("OpenIDConnectProviderList", std::iter::empty::<()>(), |_, ()| ());
        Ok(())
    }

    pub(super) fn summary(&mut self) -> Result<()> {
        self.may("*")?;
        let count = |kind| self.register.all(kind).len();
        let entries = [
            ("Users", count(PrincipalKind::User)),
            ("Groups", count(PrincipalKind::Group)),
            ("Roles", count(PrincipalKind::Role)),
            ("Policies", self.register.policies().len()),
            ("AccessKeysPerUserQuota", 2),
            ("AttachedPoliciesPerUserQuota", ATTACHED),
            ("AttachedPoliciesPerGroupQuota", ATTACHED),
            ("AttachedPoliciesPerRoleQuota", ATTACHED),
            ("PolicySizeQuota", POLICY),
            ("UserPolicySizeQuota", inline_quota(PrincipalKind::User)),
            ("GroupPolicySizeQuota", inline_quota(PrincipalKind::Group)),
            ("RolePolicySizeQuota", inline_quota(PrincipalKind::Role)),
            ("AssumeRolePolicySizeQuota", TRUST),
            ("VersionsPerPolicyQuota", crate::metadata::POLICY_VERSIONS),
            ("AccountAccessKeysPresent", usize::from(self.register.keys(None).next().is_some())),
            ("AccountMFAEnabled", 0),
        ];
        self.xml.within("SummaryMap", |xml| {
            for (key, value) in entries {
                xml.within("entry", |xml| {
                    xml.text("key", key);
                    xml.text("value", value.to_string());
                });
            }
        });
        Ok(())
    }
}
