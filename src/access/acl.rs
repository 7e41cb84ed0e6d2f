//! Access control lists: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>.

use serde::{Deserialize, Serialize};

use super::policy::AclGrant;

/// A predefined group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Group {
    /// Everybody.
    AllUsers,
    /// Everybody who signed.
    AuthenticatedUsers,
    /// The delivery of access logs.
    LogDelivery,
}

/// Who is granted something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Grantee {
    /// An account, by its canonical id.
    Account(String),
    /// All of a group.
    Group(Group),
}

/// What is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// All of it.
    FullControl,
    /// To list a bucket; to read an object.
    Read,
    /// To write a bucket's objects.
    Write,
    /// To read the ACL.
    ReadAcp,
    /// To change the ACL.
    WriteAcp,
}

/// One line of an ACL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub to: Grantee,
    /// What.
    pub may: Permission,
}

/// An ACL. Who owns what it is of is said there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(pub Vec<Grant>);

impl Acl {
    /// What the owner alone may do everything with: S3's default.
    pub fn private(owner: &str) -> Self {
        Self(vec![Grant { to: Grantee::Account(owner.to_owned()), may: Permission::FullControl }])
    }

    /// Whether it grants `who` (a canonical id; `None`: somebody who did not sign) a permission. `ignore_public`: grants to
    /// [`Group::AllUsers`] and [`Group::AuthenticatedUsers`] do not count.
    pub fn allows(&self, who: Option<&str>, permission: Permission, ignore_public: bool) -> bool {
        self.0.iter().any(|grant| {
            let of = match &grant.to {
                Grantee::Account(id) => who == Some(id),
                Grantee::Group(Group::AllUsers) => !ignore_public,
                Grantee::Group(Group::AuthenticatedUsers) => !ignore_public && who.is_some(),
                Grantee::Group(Group::LogDelivery) => false,
            };
            of && (grant.may == permission || grant.may == Permission::FullControl)
        })
    }

    /// Whom of those that `who` is one of it grants a permission, for [`policy::decide`](super::policy::decide). As [`Self::allows`].
    pub fn grant(&self, who: Option<&str>, permission: Permission, ignore_public: bool) -> AclGrant {
        // No account has this id: what it may, all may who signed.
        let anybody = who.map(|_| "");
        if self.allows(anybody, permission, ignore_public) {
            AclGrant::Everybody
        } else if self.allows(who, permission, ignore_public) {
            AclGrant::Account
        } else {
            AclGrant::Nobody
        }
    }

    /// Whether it makes public what it is of.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|grant| matches!(grant.to, Grantee::Group(Group::AllUsers | Group::AuthenticatedUsers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_to_an_account_or_to_everybody() {
        let acl = |to| Acl(vec![Grant { to, may: Permission::Read }]);
        let (account, all) = (acl(Grantee::Account("a".into())), acl(Grantee::Group(Group::AllUsers)));
        let signed = acl(Grantee::Group(Group::AuthenticatedUsers));
        for (acl, own, other, nobody) in [
            (&account, AclGrant::Account, AclGrant::Nobody, AclGrant::Nobody),
            (&all, AclGrant::Everybody, AclGrant::Everybody, AclGrant::Everybody),
            (&signed, AclGrant::Everybody, AclGrant::Everybody, AclGrant::Nobody),
        ] {
            for (who, expected) in [(Some("a"), own), (Some("b"), other), (None, nobody)] {
                assert_eq!(acl.grant(who, Permission::Read, false), expected, "{acl:?} {who:?}");
                assert_eq!(acl.grant(who, Permission::Write, false), AclGrant::Nobody);
            }
        }
        assert_eq!(all.grant(Some("a"), Permission::Read, true), AclGrant::Nobody);
    }
}
