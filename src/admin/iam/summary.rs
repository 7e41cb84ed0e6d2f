//! How many there are.

use super::Desk;
use crate::admin::Result;
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
            ("AttachedPoliciesPerUserQuota", 10),
            ("AttachedPoliciesPerGroupQuota", 10),
            ("AttachedPoliciesPerRoleQuota", 10),
            ("PolicySizeQuota", 6144),
            ("UserPolicySizeQuota", 2048),
            ("GroupPolicySizeQuota", 5120),
            ("RolePolicySizeQuota", 10_240),
            ("AssumeRolePolicySizeQuota", 2048),
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
