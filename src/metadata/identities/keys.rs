//! Access keys, and the seal on their secrets.

use super::types::none;
use super::{AccessKeyChange, AccessKeyRow, IdentityKind, KEYS, SealRow, account_by_id, key, seal};
use crate::clock::Millis;
use crate::metadata::dialect::{Column, Row, Tx, retrying, values};
use crate::metadata::{Answer, Error, Metadata, Result};

impl Metadata {
    /// Makes an access key, whose secret is sealed under the master key of this id.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]; [`Error::NoSuchIdentity`] if its account or user is not there; [`Error::SealedOtherwise`] if the master
    /// key is another one by now.
    pub fn create_access_key<'a>(&'a self, new: &'a AccessKeyRow, seal_key: &'a str) -> Answer<'a, ()> {
        change!(self, tx, { insert(tx, new, seal_key).await })
    }

    /// Changes an access key.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn change_access_key<'a>(&'a self, access_key: &'a str, change: &'a AccessKeyChange) -> Answer<'a, ()> {
        change!(self, tx, {
            let mut row = by_name(tx, access_key).await?;
            row.active = change.active.unwrap_or(row.active);
            row.expires = change.expires.unwrap_or(row.expires);
            if let Some(policy) = &change.policy {
                row.policy.clone_from(policy);
            }
            if let Some(description) = &change.description {
                row.description.clone_from(description);
            }
            let sql = "UPDATE access_keys SET status = $2, policy = $3, description = $4, expires = $5 \
                           WHERE access_key = $1";
            let (status, policy) = (status(row.active), row.policy.as_deref());
            tx.execute(sql, values![access_key, status, policy, &row.description, row.expires]).await.map(|_| ())
        })
    }

    /// Removes an access key.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn remove_access_key<'a>(&'a self, access_key: &'a str) -> Answer<'a, ()> {
        change!(self, tx, {
            by_name(tx, access_key).await?;
            remove_of(tx, "access_key", access_key).await
        })
    }

    /// Says when access keys were used last. What is no key any more is left out, and an earlier use changes nothing.
    pub fn note_key_uses<'a>(&'a self, uses: &'a [(String, Millis)]) -> Answer<'a, ()> {
        Box::pin(async move {
            let columns = [
                Column::Texts(uses.iter().map(|(key, _)| key.as_str()).collect()),
                Column::Ints(uses.iter().map(|(_, used)| *used).collect()),
            ];
            let held = "SELECT access_key FROM access_keys WHERE access_key IN (SELECT input.access_key \
                        FROM {input:access_key,used}) ORDER BY access_key {share}";
            let sql = "INSERT INTO key_uses (access_key, used) SELECT input.access_key, input.used \
                       FROM {input:access_key,used} JOIN access_keys k ON k.access_key = input.access_key WHERE 0 = 0 \
                       ON CONFLICT (access_key) DO UPDATE SET used = CASE WHEN excluded.used > key_uses.used \
                       THEN excluded.used ELSE key_uses.used END";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = async {
                    tx.query_many(held, &[], &columns).await?;
                    tx.execute_many(sql, &[], &columns).await.map(|_| ())
                };
                let result = result.await;
                tx.end(result).await
            })
            .await
        })
    }

    /// When access keys were used last, by key; those never used are left out.
    pub fn key_uses(&self) -> Answer<'_, Vec<(String, Millis)>> {
        Box::pin(async move {
            let rows = self.db.query("SELECT access_key, used FROM key_uses ORDER BY access_key", &[]).await?;
            rows.iter().map(|row| Ok((row.text("access_key")?, row.int("used")?))).collect()
        })
    }

    /// Under which master key secrets are sealed; `None` if none ever was.
    pub fn seal(&self) -> Answer<'_, Option<SealRow>> {
        Box::pin(async move {
            let row = self.db.first("SELECT seal_key, seal_check FROM identity_state", &[]).await?;
            row.map_or(Ok(None), |row| seal(&row))
        })
    }

    /// The same, where there was none: `fresh`.
    pub fn seal_under<'a>(&'a self, fresh: &'a SealRow) -> Answer<'a, SealRow> {
        change!(self, tx, {
            match sealed_under(tx).await? {
                Some(seal) => Ok(seal),
                None => set_seal(tx, fresh).await.map(|()| fresh.clone()),
            }
        })
    }

    /// Seals all secrets anew, if they still are sealed under the master key of id `old`: `reseal` is told a key and its sealed secret.
    /// Answers how many there were.
    ///
    /// # Errors
    /// [`Error::SealedOtherwise`]; those of `reseal`.
    pub fn reseal<'a>(
        &'a self,
        old: &'a str,
        fresh: &'a SealRow,
        reseal: &'a (dyn Fn(&str, &str) -> Result<String> + Send + Sync),
    ) -> Answer<'a, usize> {
        change!(self, tx, {
            check_seal(tx, old).await?;
            let keys = tx.query(KEYS, &[]).await?.iter().map(key).collect::<Result<Vec<_>>>()?;
            let sealed: Vec<String> =
                keys.iter().map(|key| reseal(&key.access_key, &key.secret)).collect::<Result<_>>()?;
            let columns = [
                Column::Texts(keys.iter().map(|key| key.access_key.as_str()).collect()),
                Column::Texts(sealed.iter().map(String::as_str).collect()),
            ];
            let sql = "UPDATE access_keys SET secret = input.secret FROM {input:name,secret} \
                           WHERE access_keys.access_key = input.name";
            tx.execute_many(sql, &[], &columns).await?;
            set_seal(tx, fresh).await?;
            Ok(keys.len())
        })
    }

    /// Removes all access keys, whose secrets nobody can read any more, and seals from now on under another master key. Answers
    /// which keys there were.
    pub fn forget_secrets<'a>(&'a self, fresh: &'a SealRow) -> Answer<'a, Vec<AccessKeyRow>> {
        change!(self, tx, {
            let keys = tx.query(KEYS, &[]).await?.iter().map(key).collect::<Result<Vec<_>>>()?;
            tx.execute("DELETE FROM key_uses", &[]).await?;
            tx.execute("DELETE FROM access_keys", &[]).await?;
            set_seal(tx, fresh).await?;
            Ok(keys)
        })
    }
}

fn status(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}

async fn sealed_under(tx: &mut Tx) -> Result<Option<SealRow>> {
    let row = tx.first("SELECT seal_key, seal_check FROM identity_state", &[]).await?;
    row.map_or(Ok(None), |row: Row| seal(&row))
}

async fn set_seal(tx: &mut Tx, to: &SealRow) -> Result<()> {
    let sql = "UPDATE identity_state SET seal_key = $1, seal_check = $2";
    tx.execute(sql, values![&to.key, &to.check]).await.map(|_| ())
}

async fn check_seal(tx: &mut Tx, key: &str) -> Result<()> {
    match sealed_under(tx).await? {
        Some(seal) if seal.key == key => Ok(()),
        _ => Err(Error::SealedOtherwise),
    }
}

async fn by_name(tx: &mut Tx, access_key: &str) -> Result<AccessKeyRow> {
    let row = tx.first(&format!("{KEYS} WHERE access_key = $1"), values![access_key]).await?;
    key(&row.ok_or_else(|| none(IdentityKind::AccessKey, access_key))?)
}

pub(super) async fn insert(tx: &mut Tx, new: &AccessKeyRow, seal_key: &str) -> Result<()> {
    check_seal(tx, seal_key).await?;
    account_by_id(tx, &new.account).await?;
    let user = new.user.as_deref();
    if let Some(user) = user {
        let sql = "SELECT principal_id FROM principals WHERE principal_id = $1 AND account_id = $2 AND kind = 'user'";
        if tx.first(sql, values![user, &new.account]).await?.is_none() {
            return Err(none(IdentityKind::Principal(super::PrincipalKind::User), user));
        }
    }
    let sql = "INSERT INTO access_keys (access_key, account_id, user_id, secret, status, policy, description, expires, \
                   created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (access_key) DO NOTHING";
    let row = values![
        &new.access_key,
        &new.account,
        user,
        &new.secret,
        status(new.active),
        new.policy.as_deref(),
        &new.description,
        new.expires,
        new.created
    ];
    match tx.execute(sql, row).await? {
        0 => Err(Error::IdentityExists { kind: IdentityKind::AccessKey, name: new.access_key.clone() }),
        _ => Ok(()),
    }
}

/// Removes the keys of which `column` is `value`.
pub(super) async fn remove_of(tx: &mut Tx, column: &'static str, value: &str) -> Result<()> {
    // Held, so that nobody notes a use of one that goes.
    let keys = format!("SELECT access_key FROM access_keys WHERE {column} = $1");
    tx.query(&format!("{keys} ORDER BY access_key {{update}}"), values![value]).await?;
    tx.execute(&format!("DELETE FROM key_uses WHERE access_key IN ({keys})"), values![value]).await?;
    tx.execute(&format!("DELETE FROM access_keys WHERE {column} = $1"), values![value]).await.map(|_| ())
}
