//! Who there is: accounts, their users, groups, roles and policies, and access keys.
//!
//! Every change holds the row of `identity_state` first and counts it, so that changes come one after the other, and whoever has seen
//! a generation has seen all before it.

pub use principals::POLICY_VERSIONS;
pub use types::*;

use super::dialect::{Row, Tx, retrying, values};
use super::rows::from_json;
use super::{Answer, BatchId, Error, Metadata, Result};

/// A change: one transaction, which counts as one if it succeeds. It may run more than once.
macro_rules! change {
    ($metadata:expr, $tx:ident, $change:block) => {{
        let metadata: &Metadata = $metadata;
        Box::pin(async move {
            let batch = $crate::metadata::dialect::fresh_batch();
            retrying(|| async {
                let mut opened = $crate::metadata::identities::begin(metadata, batch).await?;
                let result: Result<_> = async {
                    let $tx = &mut opened;
                    $change
                }
                .await;
                opened.end(result).await
            })
            .await
        })
    }};
}

mod keys;
mod login;
mod principals;
mod types;

const ACCOUNTS: &str = "SELECT account_id, canonical_id, name, email, public_access_block, own, created FROM accounts";
const PRINCIPALS: &str = "SELECT principal_id, account_id, kind, name, path, boundary, tags, trust, max_session, description, \
                          created FROM principals";
const POLICIES: &str = "SELECT policy_id, account_id, name, path, description, default_version, created FROM policies";
const KEYS: &str = "SELECT access_key, account_id, user_id, secret, status, policy, description, expires, created \
                    FROM access_keys";

fn account(row: &Row) -> Result<AccountRow> {
    Ok(AccountRow {
        id: row.text("account_id")?,
        canonical_id: row.text("canonical_id")?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
        public_access_block: row.text("public_access_block")?,
        own: row.int("own")? != 0,
        created: row.int("created")?,
    })
}

fn principal(row: &Row) -> Result<PrincipalRow> {
    let kind = row.text("kind")?;
    let trust = match (row.opt_text("trust")?, row.opt_int("max_session")?) {
        (Some(document), Some(max_session)) => Some(Trust { document, max_session }),
        _ => None,
    };
    Ok(PrincipalRow {
        id: row.text("principal_id")?,
        account: row.text("account_id")?,
        kind: kind.parse().map_err(|()| Error::Corrupt(format!("column kind holds {kind:?}")))?,
        name: row.text("name")?,
        path: row.text("path")?,
        boundary: row.opt_text("boundary")?,
        tags: from_json(row, "tags")?,
        trust,
        description: row.text("description")?,
        created: row.int("created")?,
    })
}

fn policy(row: &Row) -> Result<PolicyRow> {
    Ok(PolicyRow {
        id: row.text("policy_id")?,
        account: row.text("account_id")?,
        name: row.text("name")?,
        path: row.text("path")?,
        description: row.text("description")?,
        default_version: row.int("default_version")?,
        created: row.int("created")?,
    })
}

fn key(row: &Row) -> Result<AccessKeyRow> {
    Ok(AccessKeyRow {
        access_key: row.text("access_key")?,
        account: row.text("account_id")?,
        user: row.opt_text("user_id")?,
        secret: row.text("secret")?,
        active: row.text("status")? == "active",
        policy: row.opt_text("policy")?,
        description: row.text("description")?,
        expires: row.opt_int("expires")?,
        created: row.int("created")?,
    })
}

fn seal(row: &Row) -> Result<Option<SealRow>> {
    let (key, check) = (row.opt_text("seal_key")?, row.opt_text("seal_check")?);
    Ok(key.zip(check).map(|(key, check)| SealRow { key, check }))
}

async fn all<T>(tx: &mut Tx, select: &str, order: &str, read: fn(&Row) -> Result<T>) -> Result<Vec<T>> {
    tx.query(&format!("{select} ORDER BY {order}"), &[]).await?.iter().map(read).collect()
}

impl Metadata {
    /// How often identities were changed.
    pub fn identity_generation(&self) -> Answer<'_, i64> {
        Box::pin(async move {
            let row = self.db.first("SELECT generation FROM identity_state", &[]).await?;
            row.ok_or_else(no_state)?.int("generation")
        })
    }

    /// All identities, as they are at one moment.
    pub fn identities(&self) -> Answer<'_, Identities> {
        Box::pin(async move {
            let mut tx = self.db.begin_view().await?;
            let result = read(&mut tx).await;
            tx.end_view().await;
            result
        })
    }

    /// The deployment's own account, made if it was not there; it is never removed.
    ///
    /// # Errors
    /// [`Error::IdentityExists`] if another account has its name or id.
    pub fn own_account<'a>(&'a self, fresh: &'a AccountRow) -> Answer<'a, AccountRow> {
        Box::pin(async move {
            let own = format!("{ACCOUNTS} WHERE own = 1");
            // At nearly every start it is there, and nothing changes.
            if let Some(row) = self.db.first(&own, &[]).await? {
                return account(&row);
            }
            let own = &own;
            change!(self, tx, {
                match tx.first(own, &[]).await? {
                    Some(row) => account(&row),
                    None => insert_account(tx, fresh).await.map(|()| fresh.clone()),
                }
            })
            .await
        })
    }

    /// Makes an account, with an access key of its own if one is given.
    ///
    /// # Errors
    /// [`Error::IdentityExists`] of its name, id, address or key; [`Error::SealedOtherwise`].
    pub fn create_account<'a>(
        &'a self,
        new: &'a AccountRow,
        key: Option<&'a AccessKeyRow>,
        seal_key: &'a str,
    ) -> Answer<'a, ()> {
        change!(self, tx, {
            insert_account(tx, new).await?;
            match key {
                Some(key) => keys::insert(tx, key, seal_key).await,
                None => Ok(()),
            }
        })
    }

    /// Changes an account, by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityExists`] of its name or address.
    pub fn change_account<'a>(&'a self, id: &'a str, change: &'a AccountChange) -> Answer<'a, AccountRow> {
        change!(self, tx, {
            let mut row = account_by_id(tx, id).await?;
            if let Some(name) = &change.name {
                row.name.clone_from(name);
            }
            if let Some(email) = &change.email {
                row.email = email.as_deref().map(folded);
            }
            if let Some(block) = &change.public_access_block {
                row.public_access_block.clone_from(block);
            }
            check_account(tx, &row).await?;
            let sql = "UPDATE accounts SET name = $2, folded = $3, email = $4, public_access_block = $5 \
                           WHERE account_id = $1";
            let (folded, email) = (folded(&row.name), row.email.as_deref());
            tx.execute(sql, values![id, &row.name, &folded, email, &row.public_access_block]).await?;
            Ok(row)
        })
    }

    /// Removes an account with its own access keys, by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityInUse`] if it has buckets, users, groups, roles or policies, or is the deployment's own.
    pub fn remove_account<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        change!(self, tx, {
            // Whoever makes a bucket for it holds it, and is waited for.
            let sql = format!("{ACCOUNTS} WHERE account_id = $1 {{update}}");
            let row = tx.first(&sql, values![id]).await?;
            let row = account(&row.ok_or_else(|| none(IdentityKind::Account, id))?)?;
            let used = |why| Err(in_use(IdentityKind::Account, &row.name, why));
            if row.own {
                return used("it is the deployment's own");
            }
            let bucket = "SELECT name FROM buckets WHERE owner = $1 LIMIT 1";
            if tx.first(bucket, values![&row.canonical_id]).await?.is_some() {
                return used("it has buckets");
            }
            for (table, why) in [("principals", "it has users, groups or roles"), ("policies", "it has policies")] {
                let sql = format!("SELECT account_id FROM {table} WHERE account_id = $1 LIMIT 1");
                if tx.first(&sql, values![id]).await?.is_some() {
                    return used(why);
                }
            }
            keys::remove_of(tx, "account_id", id).await?;
            tx.execute("DELETE FROM quotas WHERE canonical_id = $1", values![&row.canonical_id]).await?;
            tx.execute("DELETE FROM accounts WHERE account_id = $1", values![id]).await?;
            let sql = "INSERT INTO removed_accounts (canonical_id, account_id) VALUES ($1, $2)";
            tx.execute(sql, values![&row.canonical_id, id]).await.map(|_| ())
        })
    }
}

async fn begin(metadata: &Metadata, batch: BatchId) -> Result<Tx> {
    let mut tx = metadata.db.begin(Some(batch)).await?;
    match tx.execute("UPDATE identity_state SET generation = generation + 1", &[]).await {
        Ok(1..) => Ok(tx),
        Ok(0) => tx.end(Err(no_state())).await,
        Err(error) => tx.end(Err(error)).await,
    }
}

fn no_state() -> Error {
    Error::Corrupt("the table identity_state is empty".into())
}

async fn read(tx: &mut Tx) -> Result<Identities> {
    // The first statement makes the view.
    let state = tx.first("SELECT generation, seal_key, seal_check FROM identity_state", &[]).await?;
    let state = state.ok_or_else(no_state)?;
    let pair = |row: &Row, one: &str, other: &str| Ok((row.text(one)?, row.text(other)?));
    let memberships = tx.query("SELECT group_id, user_id FROM memberships ORDER BY group_id, user_id", &[]).await?;
    let attachments = "SELECT principal_id, policy_id FROM attachments ORDER BY principal_id, policy_id";
    let attachments = tx.query(attachments, &[]).await?;
    let disabled = tx.query("SELECT group_id FROM disabled_groups ORDER BY group_id", &[]).await?;
    Ok(Identities {
        generation: state.int("generation")?,
        seal: seal(&state)?,
        accounts: all(tx, ACCOUNTS, "account_id", account).await?,
        principals: all(tx, PRINCIPALS, "principal_id", principal).await?,
        memberships: memberships.iter().map(|row| pair(row, "group_id", "user_id")).collect::<Result<_>>()?,
        disabled: disabled.iter().map(|row| row.text("group_id")).collect::<Result<_>>()?,
        policies: all(tx, POLICIES, "policy_id", policy).await?,
        versions: all(
            tx,
            "SELECT policy_id, version, document, created FROM policy_versions",
            "policy_id, version",
            |row| {
                Ok(PolicyVersion {
                    policy: row.text("policy_id")?,
                    version: row.int("version")?,
                    document: row.text("document")?,
                    created: row.int("created")?,
                })
            },
        )
        .await?,
        attachments: attachments.iter().map(|row| pair(row, "principal_id", "policy_id")).collect::<Result<_>>()?,
        inline: all(tx, "SELECT principal_id, name, document FROM inline_policies", "principal_id, name", |row| {
            Ok(InlinePolicy {
                principal: row.text("principal_id")?,
                name: row.text("name")?,
                document: row.text("document")?,
            })
        })
        .await?,
        keys: all(tx, KEYS, "access_key", key).await?,
    })
}

async fn account_by_id(tx: &mut Tx, id: &str) -> Result<AccountRow> {
    let row = tx.first(&format!("{ACCOUNTS} WHERE account_id = $1"), values![id]).await?;
    account(&row.ok_or_else(|| none(IdentityKind::Account, id))?)
}

/// That no other account has what must be an account's own.
async fn check_account(tx: &mut Tx, new: &AccountRow) -> Result<()> {
    let others = "SELECT account_id FROM accounts WHERE account_id <> $1 AND";
    let taken = |kind, name: &str| Err(Error::IdentityExists { kind, name: name.to_owned() });
    let named = format!("{others} folded = $2");
    if tx.first(&named, values![&new.id, &folded(&new.name)]).await?.is_some() {
        return taken(IdentityKind::Account, &new.name);
    }
    if let Some(email) = &new.email
        && tx.first(&format!("{others} email = $2"), values![&new.id, &folded(email)]).await?.is_some()
    {
        return taken(IdentityKind::Email, email);
    }
    Ok(())
}

async fn insert_account(tx: &mut Tx, new: &AccountRow) -> Result<()> {
    let ids = "SELECT account_id FROM accounts WHERE account_id = $1 OR canonical_id = $2 \
               UNION ALL SELECT account_id FROM removed_accounts WHERE account_id = $1 OR canonical_id = $2";
    if tx.first(ids, values![&new.id, &new.canonical_id]).await?.is_some() {
        return Err(Error::IdentityExists { kind: IdentityKind::Account, name: new.id.clone() });
    }
    check_account(tx, new).await?;
    let sql = "INSERT INTO accounts (account_id, canonical_id, name, folded, email, public_access_block, own, created) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (folded, email) = (folded(&new.name), new.email.as_deref().map(folded));
    let row = values![
        &new.id,
        &new.canonical_id,
        &new.name,
        &folded,
        email.as_deref(),
        &new.public_access_block,
        i64::from(new.own),
        new.created
    ];
    tx.execute(sql, row).await.map(|_| ())
}

/// Holds the account that is to own a bucket against its removal. An owner that never was an account is nobody's business here.
///
/// # Errors
/// [`Error::NoSuchIdentity`] if it was removed.
pub(super) async fn hold_owner(tx: &mut Tx, canonical_id: &str) -> Result<()> {
    let sql = "SELECT account_id FROM accounts WHERE canonical_id = $1 {share}";
    if tx.first(sql, values![canonical_id]).await?.is_some() {
        return Ok(());
    }
    let sql = "SELECT account_id FROM removed_accounts WHERE canonical_id = $1";
    match tx.first(sql, values![canonical_id]).await? {
        Some(row) => Err(none(IdentityKind::Account, row.text("account_id")?)),
        None => Ok(()),
    }
}
