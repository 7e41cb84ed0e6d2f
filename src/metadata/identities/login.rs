//! Users with an access key of their own, which is made and changed with them.

use super::types::none;
use super::{AccessKeyRow, IdentityKind, PrincipalRow, keys, principals};
use crate::metadata::dialect::{retrying, values};
use crate::metadata::{Answer, Metadata, Result};

impl Metadata {
    /// Makes a user with an access key.
    ///
    /// # Errors
    /// [`Error::IdentityExists`](crate::metadata::Error::IdentityExists) of either;
    /// [`Error::SealedOtherwise`](crate::metadata::Error::SealedOtherwise).
    pub fn create_user_with_key<'a>(
        &'a self,
        user: &'a PrincipalRow,
        key: &'a AccessKeyRow,
        seal_key: &'a str,
    ) -> Answer<'a, ()> {
        change!(self, tx, {
            principals::insert(tx, user).await?;
            keys::insert(tx, key, seal_key).await
        })
    }

    /// Puts an access key in the place of the one of the same name, with another secret.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`](crate::metadata::Error::NoSuchIdentity);
    /// [`Error::SealedOtherwise`](crate::metadata::Error::SealedOtherwise).
    pub fn replace_access_key<'a>(&'a self, new: &'a AccessKeyRow, seal_key: &'a str) -> Answer<'a, ()> {
        change!(self, tx, {
            let of = "SELECT access_key FROM access_keys WHERE access_key = $1 AND account_id = $2";
            if tx.first(of, values![&new.access_key, &new.account]).await?.is_none() {
                return Err(none(IdentityKind::AccessKey, &new.access_key));
            }
            keys::remove_of(tx, "access_key", &new.access_key).await?;
            keys::insert(tx, new, seal_key).await
        })
    }

    /// Attaches exactly these policies to a user, group or role; all by their ids.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`](crate::metadata::Error::NoSuchIdentity).
    pub fn set_attachments<'a>(&'a self, principal: &'a str, policies: &'a [String]) -> Answer<'a, ()> {
        change!(self, tx, {
            tx.execute("DELETE FROM attachments WHERE principal_id = $1", values![principal]).await?;
            for policy in policies {
                principals::attach(tx, principal, policy).await?;
            }
            Ok(())
        })
    }
}
