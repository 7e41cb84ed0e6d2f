//! Access control lists: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>.

use std::str::FromStr;

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

/// Who owns what is written into a bucket: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket's owner, and ACLs count for nothing.
    #[default]
    BucketOwnerEnforced,
    /// The bucket's owner, if the writer gives him full control.
    BucketOwnerPreferred,
    /// Who wrote it.
    ObjectWriter,
}

impl Ownership {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter];

    /// S3's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ownership| ownership.name() == name)
    }
}

impl FromStr for Ownership {
    type Err = UnknownOwnership;

    fn from_str(name: &str) -> Result<Self, UnknownOwnership> {
        Self::from_name(name).ok_or(UnknownOwnership)
    }
}

/// A text that is no [`Ownership`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object ownership is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter")]
pub struct UnknownOwnership;

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

    /// Whom that `who` (a canonical id; `None`: somebody who did not sign) is of it grants a permission. `ignore_public`: grants to
    /// [`Group::AllUsers`] and [`Group::AuthenticatedUsers`] do not count.
    pub fn grant(&self, who: Option<&str>, permission: Permission, ignore_public: bool) -> AclGrant {
        let granted = self.0.iter().filter(|grant| grant.may == permission || grant.may == Permission::FullControl);
        let reaches = granted.map(|grant| match &grant.to {
            Grantee::Account(id) if who == Some(id) => AclGrant::Account,
            Grantee::Group(Group::AllUsers) if !ignore_public => AclGrant::Everybody,
            Grantee::Group(Group::AuthenticatedUsers) if !ignore_public && who.is_some() => AclGrant::Everybody,
            Grantee::Account(_) | Grantee::Group(_) => AclGrant::Nobody,
        });
        reaches.max().unwrap_or(AclGrant::Nobody)
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
