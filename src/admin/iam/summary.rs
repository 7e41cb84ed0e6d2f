//! How many there are.

use super::Desk;
use crate::admin::documents::{ATTACHED, POLICY, TRUST, inline_quota};
use crate::admin::{Problem, Result};
use crate::metadata::PrincipalKind;
use crate::oidc::provider_arn;

impl Desk<'_> {
    /// Those that are configured: every account's roles may trust them.
    pub(super) fn providers(&mut self) -> Result<()> {
        self.may("*")?;
        let names = self.admin.oidc.providers().map(|(name, _)| provider_arn(&self.register.account, name));
        self.xml.list("OpenIDConnectProviderList", names, |xml, arn| xml.text("Arn", arn));
        Ok(())
    }

    /// One of them. Its certificates are found by its name and not by their digests.
    pub(super) fn provider(&mut self) -> Result<()> {
        let arn = self.params.need("OpenIDConnectProviderArn")?;
        self.may(arn)?;
        let account = &self.register.account;
        let found = self.admin.oidc.providers().find(|(name, _)| provider_arn(account, name) == arn);
        let (name, clients) = found.ok_or_else(|| {
            Problem::missing("NoSuchEntity", format!("OpenIDConnect Provider not found for arn {arn}"))
        })?;
        self.xml.text("Url", name);
        self.xml.list("ClientIDList", clients, |xml, client| xml.raw(client));
        self.xml.list("ThumbprintList", std::iter::empty::<()>(), |_, ()| ());
        self.xml.list("Tags", std::iter::empty::<()>(), |_, ()| ());
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
