//! Users, groups and roles.

use schemars::JsonSchema;
use serde::Deserialize;

use super::page::Page;
use super::{Desk, Document, Done, Made, Shown, exists};
use crate::access::names;
use crate::access::policy::{Context, builtin};
use crate::admin::documents::{MAX_SESSION, SESSIONS, check_description, check_tag, check_tags, check_trust};
use crate::admin::view::{Principal, PrincipalDetails};
use crate::admin::{Problem, Register, Result};
use crate::metadata::{IdentityKind, PolicyRow, PrincipalChange, PrincipalKind, PrincipalRow, Tags, Trust};

/// The condition key of what bounds somebody, as IAM has it.
const BOUNDARY: &str = "iam:PermissionsBoundary";

fn root() -> String {
    "/".to_owned()
}

/// A user or group that is to be made. Groups have no tags and no boundary.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrincipal {
    /// `/`, or `/a/path/`.
    #[serde(default = "root")]
    path: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Its tags, 50 at most.
    #[serde(default)]
    tags: Tags,
    /// The policy that says what it may do at most, by name or Amazon Resource Name.
    #[serde(default)]
    boundary: Option<String>,
}

/// A role that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Who may take it.
    trust: Document,
    /// Seconds that one may have it for, at most: 3600 to 43200.
    #[serde(default)]
    max_session: Option<i64>,
    /// `/`, or `/a/path/`.
    #[serde(default = "root")]
    path: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Its tags, 50 at most.
    #[serde(default)]
    tags: Tags,
    /// The policy that says what it may do at most, by name or Amazon Resource Name.
    #[serde(default)]
    boundary: Option<String>,
}

/// What is to be different about a user, group or role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalUpdate {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// Its path.
    #[serde(default)]
    path: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// Its tags, all of them.
    #[serde(default)]
    tags: Option<Tags>,
}

/// Who may take a role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleTrust {
    /// Who may take it.
    trust: Document,
    /// Seconds that one may have it for, at most; left out: as it was.
    #[serde(default)]
    max_session: Option<i64>,
}

fn check_all(kind: PrincipalKind, tags: &Tags) -> Result<()> {
    tags.iter().try_for_each(|(key, value)| check_tag(key, value))?;
    check_tags(kind, tags)
}

fn session(seconds: Option<i64>, otherwise: i64) -> Result<i64> {
    let (least, most) = SESSIONS;
    match seconds {
        Some(seconds) if !(least..=most).contains(&seconds) => {
            Err(Problem::bad("ValidationError", format!("max_session is a number from {least} to {most}")))
        }
        seconds => Ok(seconds.unwrap_or(otherwise)),
    }
}

fn add_tags(context: &mut Context, tags: &Tags) {
    for (key, value) in tags {
        context.add(&format!("aws:RequestTag/{key}"), value);
        context.add("aws:TagKeys", key);
    }
}

impl Desk<'_> {
    pub(super) async fn list(&self, kind: PrincipalKind) -> Result<Shown<Page<Principal>>> {
        self.may(&self.arn(kind.name(), "/", ""))?;
        let rows = self.register.all(kind);
        Ok(Shown(self.page(rows, |row| &row.name, Principal::from)?))
    }

    pub(super) async fn get(&self, kind: PrincipalKind) -> Result<Shown<PrincipalDetails>> {
        let row = self.principal(kind)?;
        Ok(Shown(PrincipalDetails::of(row, &self.register)))
    }

    pub(super) async fn create_role(&self, new: NewRole) -> Result<Made<PrincipalDetails>> {
        let NewRole { trust, max_session, path, description, tags, boundary } = new;
        let max_session = session(max_session, MAX_SESSION)?;
        check_trust(trust.text())?;
        let new = NewPrincipal { path, description, tags, boundary };
        self.create(PrincipalKind::Role, new, Some((trust, max_session))).await
    }

    pub(super) async fn create(
        &self,
        kind: PrincipalKind,
        new: NewPrincipal,
        trust: Option<(Document, i64)>,
    ) -> Result<Made<PrincipalDetails>> {
        let name = self.name(kind.name());
        let row = names::fresh_principal(kind, &self.register.account, name, self.now())?;
        names::path(&new.path)?;
        check_description(&new.description)?;
        check_all(kind, &new.tags)?;
        if kind == PrincipalKind::Group && new.boundary.is_some() {
            return Err(Problem::not_built("What bounds a group"));
        }
        let mut context = self.call.context.clone();
        add_tags(&mut context, &new.tags);
        if let Some(policy) = &new.boundary {
            context.add(BOUNDARY, self.policy_arn(policy));
        }
        self.may_within(&self.arn(kind.name(), &new.path, name), &context)?;
        if let Some(there) = self.register.principal(kind, name) {
            if !self.is_so(there, name, &new, trust.as_ref()) {
                return Err(exists(IdentityKind::Principal(kind), &there.name));
            }
            return Ok(Made { anew: false, what: PrincipalDetails::of(there, &self.register) });
        }
        let boundary = match &new.boundary {
            Some(policy) => Some(self.policy_row(policy).await?.id),
            None => None,
        };
        let NewPrincipal { path, description, tags, .. } = new;
        let trust = trust.map(|(trust, max_session)| Trust { document: trust.text().to_owned(), max_session });
        let row = PrincipalRow { path, description, tags, boundary, trust, ..row };
        self.metadata()?.create_principal(&row).await?;
        Ok(Made { anew: true, what: PrincipalDetails::of(&row, &self.changed().await?) })
    }

    /// Whether somebody is what he would have been made.
    fn is_so(&self, row: &PrincipalRow, name: &str, new: &NewPrincipal, trust: Option<&(Document, i64)>) -> bool {
        let NewPrincipal { path, description, tags, boundary } = new;
        let bound = row.boundary.as_deref().and_then(|id| self.register.policy_by_id(id));
        let same_boundary = match (boundary, bound) {
            (Some(name), Some(row)) => row.name.eq_ignore_ascii_case(name) || row.arn() == *name,
            (None, None) => true,
            _ => false,
        };
        let same_trust = match (trust, &row.trust) {
            (Some((document, max_session)), Some(trust)) => {
                document.says(&trust.document) && *max_session == trust.max_session
            }
            (None, None) => true,
            _ => false,
        };
        let said = (&*row.name, &row.path, &row.description, &row.tags);
        said == (name, path, description, tags) && same_boundary && same_trust
    }

    pub(super) async fn update(&self, kind: PrincipalKind, new: PrincipalUpdate) -> Result<Shown<PrincipalDetails>> {
        let PrincipalUpdate { name, path, description, tags } = new;
        name.as_deref().map_or(Ok(()), |name| names::principal(kind, name))?;
        path.as_deref().map_or(Ok(()), names::path)?;
        description.as_deref().map_or(Ok(()), check_description)?;
        tags.as_ref().map_or(Ok(()), |tags| check_all(kind, tags))?;
        let mut context = self.call.context.clone();
        add_tags(&mut context, tags.as_ref().unwrap_or(&Tags::new()));
        let row = self.principal_called(kind, self.name(kind.name()), &context)?;
        let (new_path, new_name) = (path.as_deref().unwrap_or(&row.path), name.as_deref().unwrap_or(&row.name));
        // Both of what it is and what it becomes.
        self.may_within(&self.arn(kind.name(), new_path, new_name), &context)?;
        let change = PrincipalChange { name, path, description, tags, ..PrincipalChange::default() };
        self.change(row, &change).await
    }

    async fn change(&self, row: &PrincipalRow, change: &PrincipalChange) -> Result<Shown<PrincipalDetails>> {
        self.metadata()?.change_principal(&row.id, change).await?;
        let register = self.changed().await?;
        // It may be gone by now.
        Ok(Shown(PrincipalDetails::of(register.by_id(&row.id).unwrap_or(row), &register)))
    }

    pub(super) async fn delete(&self, kind: PrincipalKind) -> Result<Done> {
        let (row, whole) = (self.principal(kind)?, self.flag("whole")?);
        self.metadata()?.remove_principal(&row.id, whole).await?;
        self.changed().await?;
        Ok(Done)
    }

    pub(super) async fn trust(&self, new: RoleTrust) -> Result<Shown<PrincipalDetails>> {
        let row = self.principal(PrincipalKind::Role)?;
        check_trust(new.trust.text())?;
        let before = row.trust.as_ref().map_or(MAX_SESSION, |trust| trust.max_session);
        let max_session = session(new.max_session, before)?;
        let trust = Some(Trust { document: new.trust.text().to_owned(), max_session });
        self.change(row, &PrincipalChange { trust, ..PrincipalChange::default() }).await
    }

    /// Whose boundary is asked for, with conditions about what bounds him and about what is to.
    fn to_bind(&self, kind: PrincipalKind, policy: Option<&str>) -> Result<&PrincipalRow> {
        let mut context = self.call.context.clone();
        if let Some(policy) = policy {
            context.add(BOUNDARY, self.policy_arn(policy));
        } else if let Some(bound) = self.bound(kind) {
            context.add(BOUNDARY, bound.arn());
        }
        self.principal_called(kind, self.name(kind.name()), &context)
    }

    fn bound(&self, kind: PrincipalKind) -> Option<&PolicyRow> {
        let row = self.register.principal(kind, self.name(kind.name()))?;
        self.register.policy_by_id(row.boundary.as_deref()?)
    }

    pub(super) async fn bind(&self, kind: PrincipalKind) -> Result<Shown<PrincipalDetails>> {
        let name = self.name("policy");
        let row = self.to_bind(kind, Some(name))?;
        let boundary = Some(Some(self.policy_row(name).await?.id));
        self.change(row, &PrincipalChange { boundary, ..PrincipalChange::default() }).await
    }

    pub(super) async fn unbind(&self, kind: PrincipalKind) -> Result<Done> {
        let row = self.to_bind(kind, None)?;
        let change = PrincipalChange { boundary: Some(None), ..PrincipalChange::default() };
        self.change(row, &change).await?;
        Ok(Done)
    }

    pub(super) async fn set_member(&self, member: bool) -> Result<Done> {
        let group = self.principal(PrincipalKind::Group)?;
        let name = self.name("user");
        let user = self.register.principal(PrincipalKind::User, name);
        let user = user.ok_or_else(|| super::none(IdentityKind::Principal(PrincipalKind::User), name))?;
        self.metadata()?.set_membership(&group.id, &user.id, member).await?;
        self.changed().await?;
        Ok(Done)
    }

    pub(super) async fn switch_group(&self, enabled: bool) -> Result<Done> {
        let group = self.principal(PrincipalKind::Group)?;
        self.metadata()?.set_group_status(&group.id, enabled).await?;
        self.changed().await?;
        Ok(Done)
    }

    /// The name of a policy in conditions, however it was asked for; that of one which is not there yet is the one that it would get.
    pub(super) fn policy_arn(&self, name: &str) -> String {
        match (self.register.policy(name), builtin(name)) {
            (Some(row), _) => row.arn(),
            (None, Some((name, _))) => self.arn("policy", "/", name),
            (None, None) if name.starts_with("arn:") => name.to_owned(),
            (None, None) => self.arn("policy", "/", name),
        }
    }

    /// A policy; one that every deployment has becomes a row.
    pub(super) async fn policy_row(&self, name: &str) -> Result<PolicyRow> {
        Ok(Register::policy_or_builtin(&self.register, self.metadata()?, name, self.now()).await?)
    }
}
