//! Users, groups, roles, and their policies.

use super::types::{folded, in_use, none};
use super::{
    IdentityKind, InlinePolicy, POLICIES, PRINCIPALS, PolicyRow, PrincipalChange, PrincipalKind, PrincipalRow,
    account_by_id, keys, policy, principal,
};
use crate::clock::Millis;
use crate::metadata::dialect::{Tx, retrying, values};
use crate::metadata::rows::to_json;
use crate::metadata::{Answer, Error, Metadata, Result};

/// Versions of one policy at most, as IAM has it.
pub const POLICY_VERSIONS: usize = 5;

impl Metadata {
    /// Makes a user, group or role.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]; [`Error::NoSuchIdentity`] if its account, or what bounds it, is not there.
    pub fn create_principal<'a>(&'a self, new: &'a PrincipalRow) -> Answer<'a, ()> {
        change!(self, tx, { insert(tx, new).await })
    }

    /// Changes a user, group or role, by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityExists`] of its name.
    pub fn change_principal<'a>(&'a self, id: &'a str, change: &'a PrincipalChange) -> Answer<'a, ()> {
        change!(self, tx, {
            let mut row = principal_by_id(tx, id).await?;
            let PrincipalChange { name, path, boundary, tags, trust, description } = change.clone();
            row.name = name.unwrap_or(row.name);
            row.path = path.unwrap_or(row.path);
            row.boundary = boundary.unwrap_or(row.boundary);
            row.tags = tags.unwrap_or(row.tags);
            row.trust = if row.kind == PrincipalKind::Role { trust.or(row.trust) } else { None };
            row.description = description.unwrap_or(row.description);
            check_principal(tx, &row).await?;
            let sql = "UPDATE principals SET name = $2, folded = $3, path = $4, boundary = $5, tags = $6, trust = $7, \
                           max_session = $8, description = $9 WHERE principal_id = $1";
            let (trust, boundary) = (row.trust.as_ref(), row.boundary.as_deref());
            let (document, session) = (trust.map(|t| t.document.as_str()), trust.map(|t| t.max_session));
            let (folded, tags) = (folded(&row.name), to_json(&row.tags)?);
            let row = values![id, &row.name, &folded, &row.path, boundary, &tags, document, session, &row.description];
            tx.execute(sql, row).await.map(|_| ())
        })
    }

    /// Removes a user, group or role, by its id; `whole`: with its keys, policies and memberships.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityInUse`] if it has any of these and is not to be removed as a whole.
    pub fn remove_principal<'a>(&'a self, id: &'a str, whole: bool) -> Answer<'a, ()> {
        change!(self, tx, {
            let row = principal_by_id(tx, id).await?;
            let parts = [
                ("access_keys", "user_id", "it has access keys"),
                ("inline_policies", "principal_id", "it has inline policies"),
                ("attachments", "principal_id", "it has attached policies"),
                ("memberships", "user_id", "it is in groups"),
                ("memberships", "group_id", "it has users"),
            ];
            for (table, column, why) in parts {
                let found = format!("SELECT {column} FROM {table} WHERE {column} = $1 LIMIT 1");
                if whole && table == "access_keys" {
                    keys::remove_of(tx, column, id).await?;
                } else if whole {
                    tx.execute(&format!("DELETE FROM {table} WHERE {column} = $1"), values![id]).await?;
                } else if tx.first(&found, values![id]).await?.is_some() {
                    return Err(in_use(IdentityKind::Principal(row.kind), row.name, why));
                }
            }
            tx.execute("DELETE FROM disabled_groups WHERE group_id = $1", values![id]).await?;
            tx.execute("DELETE FROM principals WHERE principal_id = $1", values![id]).await.map(|_| ())
        })
    }

    /// Switches a group on or off, by its id: while it is off its policies count for nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn set_group_status<'a>(&'a self, group: &'a str, enabled: bool) -> Answer<'a, ()> {
        change!(self, tx, {
            let row = principal_by_id(tx, group).await?;
            if row.kind != PrincipalKind::Group {
                return Err(none(IdentityKind::Principal(PrincipalKind::Group), row.name));
            }
            let sql = if enabled {
                "DELETE FROM disabled_groups WHERE group_id = $1"
            } else {
                "INSERT INTO disabled_groups (group_id) VALUES ($1) ON CONFLICT (group_id) DO NOTHING"
            };
            tx.execute(sql, values![group]).await.map(|_| ())
        })
    }

    /// Takes a user into a group, or (`member` is false) out of it; both by their ids.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn set_membership<'a>(&'a self, group: &'a str, user: &'a str, member: bool) -> Answer<'a, ()> {
        change!(self, tx, {
            let (of, who) = (principal_by_id(tx, group).await?, principal_by_id(tx, user).await?);
            for (row, kind) in [(&of, PrincipalKind::Group), (&who, PrincipalKind::User)] {
                if row.kind != kind || row.account != of.account {
                    return Err(none(IdentityKind::Principal(kind), &row.name));
                }
            }
            let sql = if member {
                "INSERT INTO memberships (group_id, user_id) VALUES ($1, $2) ON CONFLICT (group_id, user_id) DO NOTHING"
            } else {
                "DELETE FROM memberships WHERE group_id = $1 AND user_id = $2"
            };
            match tx.execute(sql, values![group, user]).await? {
                0 if !member => Err(none(IdentityKind::Principal(PrincipalKind::User), who.name)),
                _ => Ok(()),
            }
        })
    }

    /// Makes a policy that may be attached, with its first version.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]; [`Error::NoSuchIdentity`] if its account is not there.
    pub fn create_policy<'a>(&'a self, new: &'a PolicyRow, document: &'a str) -> Answer<'a, ()> {
        change!(self, tx, {
            account_by_id(tx, &new.account).await?;
            let folded = folded(&new.name);
            let taken = "SELECT policy_id FROM policies WHERE policy_id = $1 OR (account_id = $2 AND folded = $3)";
            if tx.first(taken, values![&new.id, &new.account, &folded]).await?.is_some() {
                return Err(Error::IdentityExists { kind: IdentityKind::Policy, name: new.name.clone() });
            }
            let sql = "INSERT INTO policies (policy_id, account_id, name, folded, path, description, default_version, \
                           last_version, created) VALUES ($1, $2, $3, $4, $5, $6, 1, 1, $7)";
            let row = values![&new.id, &new.account, &new.name, &folded, &new.path, &new.description, new.created];
            tx.execute(sql, row).await?;
            insert_version(tx, &new.id, 1, document, new.created).await
        })
    }

    /// Gives a policy a further version, which counts from now on if it `is_default`; answers its number. `make_room`: the oldest that
    /// does not count goes if there are too many; otherwise that is an error.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityInUse`] if there are [`POLICY_VERSIONS`].
    pub fn add_policy_version<'a>(
        &'a self,
        id: &'a str,
        document: &'a str,
        is_default: bool,
        make_room: bool,
        now: Millis,
    ) -> Answer<'a, i64> {
        change!(self, tx, {
            let row = policy_by_id(tx, id).await?;
            let sql = "SELECT version FROM policy_versions WHERE policy_id = $1 ORDER BY version";
            let versions = tx.query(sql, values![id]).await?;
            let versions = versions.iter().map(|row| row.int("version")).collect::<Result<Vec<_>>>()?;
            if versions.len() >= POLICY_VERSIONS {
                let oldest = versions.into_iter().find(|&version| version != row.default_version);
                match oldest.filter(|_| make_room) {
                    Some(oldest) => delete_version(tx, id, oldest).await?,
                    None => {
                        return Err(in_use(IdentityKind::Policy, row.name, "it has as many versions as there can be"));
                    }
                };
            }
            let sql = "UPDATE policies SET last_version = last_version + 1 WHERE policy_id = $1 RETURNING last_version";
            let next = tx.first(sql, values![id]).await?;
            let next = next.ok_or_else(|| none(IdentityKind::Policy, id))?.int("last_version")?;
            insert_version(tx, id, next, document, now).await?;
            if is_default {
                set_default(tx, id, next).await?;
            }
            Ok(next)
        })
    }

    /// From now on this version of a policy counts.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn set_default_policy_version<'a>(&'a self, id: &'a str, version: i64) -> Answer<'a, ()> {
        change!(self, tx, {
            policy_by_id(tx, id).await?;
            let sql = "SELECT version FROM policy_versions WHERE policy_id = $1 AND version = $2";
            match tx.first(sql, values![id, version]).await? {
                Some(_) => set_default(tx, id, version).await,
                None => Err(none(IdentityKind::PolicyVersion, format!("v{version}"))),
            }
        })
    }

    /// Removes a version of a policy.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityInUse`] if it counts.
    pub fn remove_policy_version<'a>(&'a self, id: &'a str, version: i64) -> Answer<'a, ()> {
        change!(self, tx, {
            let row = policy_by_id(tx, id).await?;
            let name = format!("v{version}");
            if row.default_version == version {
                return Err(in_use(IdentityKind::PolicyVersion, name, "it is the default version"));
            }
            match delete_version(tx, id, version).await? {
                0 => Err(none(IdentityKind::PolicyVersion, name)),
                _ => Ok(()),
            }
        })
    }

    /// Removes a policy with all its versions; `whole`: it is detached first.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`]; [`Error::IdentityInUse`] if it bounds somebody, or is attached and is not to be detached.
    pub fn remove_policy<'a>(&'a self, id: &'a str, whole: bool) -> Answer<'a, ()> {
        change!(self, tx, {
            let row = policy_by_id(tx, id).await?;
            let used = |why| Err(in_use(IdentityKind::Policy, &row.name, why));
            let bounds = "SELECT principal_id FROM principals WHERE boundary = $1 LIMIT 1";
            if tx.first(bounds, values![id]).await?.is_some() {
                return used("it bounds somebody");
            }
            if whole {
                tx.execute("DELETE FROM attachments WHERE policy_id = $1", values![id]).await?;
            }
            let attached = "SELECT principal_id FROM attachments WHERE policy_id = $1 LIMIT 1";
            if tx.first(attached, values![id]).await?.is_some() {
                return used("it is attached");
            }
            tx.execute("DELETE FROM policy_versions WHERE policy_id = $1", values![id]).await?;
            tx.execute("DELETE FROM policies WHERE policy_id = $1", values![id]).await.map(|_| ())
        })
    }

    /// Attaches a policy to a user, group or role, or (`attached` is false) detaches it; both by their ids.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`], also of a policy that was not attached.
    pub fn set_attachment<'a>(&'a self, principal: &'a str, policy: &'a str, attached: bool) -> Answer<'a, ()> {
        change!(self, tx, {
            if attached {
                return attach(tx, principal, policy).await;
            }
            principal_by_id(tx, principal).await?;
            let what = policy_by_id(tx, policy).await?;
            let sql = "DELETE FROM attachments WHERE principal_id = $1 AND policy_id = $2";
            match tx.execute(sql, values![principal, policy]).await? {
                0 => Err(none(IdentityKind::Policy, what.name)),
                _ => Ok(()),
            }
        })
    }

    /// Gives a user, group or role a policy of its own, in place of one of that name.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn put_inline_policy<'a>(&'a self, new: &'a InlinePolicy) -> Answer<'a, ()> {
        change!(self, tx, {
            principal_by_id(tx, &new.principal).await?;
            let sql = "INSERT INTO inline_policies (principal_id, name, document) VALUES ($1, $2, $3) \
                           ON CONFLICT (principal_id, name) DO UPDATE SET document = excluded.document";
            tx.execute(sql, values![&new.principal, &new.name, &new.document]).await.map(|_| ())
        })
    }

    /// Takes a policy of its own from a user, group or role.
    ///
    /// # Errors
    /// [`Error::NoSuchIdentity`].
    pub fn remove_inline_policy<'a>(&'a self, principal: &'a str, name: &'a str) -> Answer<'a, ()> {
        change!(self, tx, {
            principal_by_id(tx, principal).await?;
            let sql = "DELETE FROM inline_policies WHERE principal_id = $1 AND name = $2";
            match tx.execute(sql, values![principal, name]).await? {
                0 => Err(none(IdentityKind::InlinePolicy, name)),
                _ => Ok(()),
            }
        })
    }
}

/// Makes a user, group or role.
pub(super) async fn insert(tx: &mut Tx, new: &PrincipalRow) -> Result<()> {
    account_by_id(tx, &new.account).await?;
    check_principal(tx, new).await?;
    let sql = "INSERT INTO principals (principal_id, account_id, kind, name, folded, path, boundary, tags, trust, \
                   max_session, description, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let (trust, boundary) = (new.trust.as_ref(), new.boundary.as_deref());
    let (document, session) = (trust.map(|t| t.document.as_str()), trust.map(|t| t.max_session));
    let (folded, tags) = (folded(&new.name), to_json(&new.tags)?);
    let row = values![
        &new.id,
        &new.account,
        new.kind.name(),
        &new.name,
        &folded,
        &new.path,
        boundary,
        &tags,
        document,
        session,
        &new.description,
        new.created
    ];
    tx.execute(sql, row).await.map(|_| ())
}

/// Attaches a policy to a user, group or role of its account.
pub(super) async fn attach(tx: &mut Tx, principal: &str, policy: &str) -> Result<()> {
    let (who, what) = (principal_by_id(tx, principal).await?, policy_by_id(tx, policy).await?);
    if who.account != what.account {
        return Err(none(IdentityKind::Policy, what.name));
    }
    let sql = "INSERT INTO attachments (principal_id, policy_id) VALUES ($1, $2) \
                   ON CONFLICT (principal_id, policy_id) DO NOTHING";
    tx.execute(sql, values![principal, policy]).await.map(|_| ())
}

async fn principal_by_id(tx: &mut Tx, id: &str) -> Result<PrincipalRow> {
    let row = tx.first(&format!("{PRINCIPALS} WHERE principal_id = $1"), values![id]).await?;
    let kind = match id.get(..4) {
        Some("AGPA") => PrincipalKind::Group,
        Some("AROA") => PrincipalKind::Role,
        _ => PrincipalKind::User,
    };
    principal(&row.ok_or_else(|| none(IdentityKind::Principal(kind), id))?)
}

async fn policy_by_id(tx: &mut Tx, id: &str) -> Result<PolicyRow> {
    let row = tx.first(&format!("{POLICIES} WHERE policy_id = $1"), values![id]).await?;
    policy(&row.ok_or_else(|| none(IdentityKind::Policy, id))?)
}

/// That no other has its name or id, and that what bounds it is of its account.
async fn check_principal(tx: &mut Tx, new: &PrincipalRow) -> Result<()> {
    let taken = "SELECT principal_id FROM principals WHERE account_id = $1 AND kind = $2 AND folded = $3 AND principal_id <> $4";
    if tx.first(taken, values![&new.account, new.kind.name(), &folded(&new.name), &new.id]).await?.is_some() {
        return Err(Error::IdentityExists { kind: IdentityKind::Principal(new.kind), name: new.name.clone() });
    }
    if let Some(boundary) = &new.boundary
        && policy_by_id(tx, boundary).await?.account != new.account
    {
        return Err(none(IdentityKind::Policy, boundary));
    }
    Ok(())
}

async fn insert_version(tx: &mut Tx, id: &str, version: i64, document: &str, now: Millis) -> Result<()> {
    let sql = "INSERT INTO policy_versions (policy_id, version, document, created) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, values![id, version, document, now]).await.map(|_| ())
}

async fn delete_version(tx: &mut Tx, id: &str, version: i64) -> Result<u64> {
    tx.execute("DELETE FROM policy_versions WHERE policy_id = $1 AND version = $2", values![id, version]).await
}

async fn set_default(tx: &mut Tx, id: &str, version: i64) -> Result<()> {
    let sql = "UPDATE policies SET default_version = $2 WHERE policy_id = $1";
    tx.execute(sql, values![id, version]).await.map(|_| ())
}
