//! What users, groups and roles have in common.

use super::{Desk, parameter};
use crate::access::names;
use crate::admin::documents::{check_description, check_tags};
use crate::admin::xml::Xml;
use crate::admin::{Problem, Result};
use crate::metadata::{PolicyRow, PrincipalChange, PrincipalKind, PrincipalRow, Tags, Trust};

/// What AWS calls it in an answer.
pub(super) fn element(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Group => "Group",
        PrincipalKind::Role => "Role",
    }
}

/// What names its id in an answer.
fn id_element(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "UserId",
        PrincipalKind::Group => "GroupId",
        PrincipalKind::Role => "RoleId",
    }
}

pub(super) fn write_tags(xml: &mut Xml, tags: &Tags) {
    xml.list("Tags", tags, |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
}

/// All that is told of somebody; `boundary`: the name of the policy that bounds it. `whole`: with tags, which lists leave out.
pub(super) fn write(xml: &mut Xml, row: &PrincipalRow, boundary: Option<&str>, whole: bool) {
    xml.text("Path", &row.path);
    xml.text(parameter(row.kind), &row.name);
    xml.text(id_element(row.kind), &row.id);
    xml.text("Arn", row.arn());
    xml.moment("CreateDate", row.created);
    if let Some(trust) = &row.trust {
        xml.text("AssumeRolePolicyDocument", super::escaped(&trust.document));
        xml.text("MaxSessionDuration", trust.max_session.to_string());
        if !row.description.is_empty() {
            xml.text("Description", &row.description);
        }
    }
    if !whole {
        return;
    }
    if let Some(arn) = boundary {
        xml.within("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "PermissionsBoundaryPolicy");
            xml.text("PermissionsBoundaryArn", arn);
        });
    }
    if !row.tags.is_empty() {
        write_tags(xml, &row.tags);
    }
}

impl Desk<'_> {
    pub(super) fn show(&mut self, row: &PrincipalRow) {
        let boundary = row.boundary.as_deref().and_then(|id| self.register.policy_by_id(id)).map(PolicyRow::arn);
        self.xml.within(element(row.kind), |xml| write(xml, row, boundary.as_deref(), true));
    }

    /// A new row of what the request says, if whoever asks may make it.
    pub(super) async fn fresh(&self, kind: PrincipalKind, trust: Option<Trust>) -> Result<PrincipalRow> {
        let (name, path) = (self.fresh_name(kind, parameter(kind))?, self.path()?);
        self.may(&self.arn(kind, path, name))?;
        let tags = self.params.tags()?;
        check_tags(kind, &tags)?;
        let boundary = match self.params.get("PermissionsBoundary") {
            Some(arn) => Some(self.policy_id(arn).await?),
            None => None,
        };
        let row = names::fresh_principal(kind, &self.register.account, name, self.now())?;
        Ok(PrincipalRow { path: path.to_owned(), boundary, tags, trust, description: self.description()?, ..row })
    }

    /// The description in the request.
    pub(super) fn description(&self) -> Result<String> {
        let text = self.params.get("Description").unwrap_or_default();
        check_description(text)?;
        Ok(text.to_owned())
    }

    pub(super) async fn create(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.fresh(kind, None).await?;
        self.metadata()?.create_principal(&row).await?;
        self.changed().await?;
        // What bounds it may be new.
        self.register = self.admin.register(&self.register.account).await?;
        self.show(&row);
        Ok(())
    }

    pub(super) fn list(&mut self, kind: PrincipalKind) -> Result<()> {
        let prefix = self.params.get("PathPrefix").unwrap_or("/").to_owned();
        if !prefix.starts_with('/') {
            return Err(Problem::bad("ValidationError", "PathPrefix must begin with a slash"));
        }
        self.may(&self.arn(kind, &prefix, ""))?;
        let rows = self.register.all(kind).into_iter().filter(|row| row.path.starts_with(&prefix)).cloned();
        let rows: Vec<PrincipalRow> = rows.collect();
        let list = format!("{}s", element(kind));
        self.page(&list, rows, |row| row.name.clone(), |xml, row| write(xml, &row, None, false))
    }

    /// Another name or path.
    pub(super) async fn rename(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let (new_name, new_path) = (format!("New{}", parameter(kind)), self.params.get("NewPath"));
        let name = match self.params.get(&new_name) {
            Some(_) => Some(self.fresh_name(kind, &new_name)?),
            None => None,
        };
        new_path.map_or(Ok(()), names::path)?;
        // Both of what it is and what it becomes.
        self.may(&self.arn(kind, new_path.unwrap_or(&row.path), name.unwrap_or(&row.name)))?;
        let change = PrincipalChange {
            name: name.map(str::to_owned),
            path: new_path.map(str::to_owned),
            ..PrincipalChange::default()
        };
        self.metadata()?.change_principal(&row.id, &change).await?;
        self.changed().await
    }

    pub(super) async fn delete(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        self.metadata()?.remove_principal(&row.id, false).await?;
        self.changed().await
    }

    async fn set_tags(&self, row: &PrincipalRow, tags: Tags) -> Result<()> {
        let change = PrincipalChange { tags: Some(tags), ..PrincipalChange::default() };
        self.metadata()?.change_principal(&row.id, &change).await?;
        self.changed().await
    }

    pub(super) async fn tag(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let mut tags = row.tags.clone();
        tags.extend(self.params.tags()?);
        check_tags(kind, &tags)?;
        self.set_tags(&row, tags).await
    }

    pub(super) async fn untag(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let mut tags = row.tags.clone();
        for key in self.params.members("TagKeys", "") {
            tags.remove(key);
        }
        self.set_tags(&row, tags).await
    }

    pub(super) fn list_tags(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let tags: Vec<(String, String)> = row.tags.into_iter().collect();
        self.page(
            "Tags",
            tags,
            |(key, _)| key.clone(),
            |xml, (key, value)| {
                xml.text("Key", key);
                xml.text("Value", value);
            },
        )
    }

    /// Another policy that bounds it, or none.
    pub(super) async fn bound(&mut self, kind: PrincipalKind, to: bool) -> Result<()> {
        let row = self.principal(kind)?;
        let policy = match to {
            true => Some(self.policy_id(self.params.need("PermissionsBoundary")?).await?),
            false => None,
        };
        let change = PrincipalChange { boundary: Some(policy), ..PrincipalChange::default() };
        self.metadata()?.change_principal(&row.id, &change).await?;
        self.changed().await
    }
}
