//! Policies of one user, group or role.

use super::{Desk, escaped, parameter};
use crate::access::names;
use crate::admin::documents::check_inline;
use crate::admin::{Problem, Result};
use crate::metadata::{InlinePolicy, PrincipalKind};

impl Desk<'_> {
    fn policy_name(&self) -> Result<&str> {
        let name = self.params.need("PolicyName")?;
        names::policy(name)?;
        Ok(name)
    }

    pub(super) async fn put_inline(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let (name, document) = (self.policy_name()?, self.params.need("PolicyDocument")?);
        let others = self.register.inline(&row.id).filter(|policy| policy.name != name);
        check_inline(document, (kind, &row.name), others.map(|policy| &*policy.document))?;
        let new = InlinePolicy { principal: row.id, name: name.to_owned(), document: document.to_owned() };
        self.metadata()?.put_inline_policy(&new).await?;
        self.changed().await
    }

    pub(super) fn get_inline(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let name = self.params.need("PolicyName")?;
        let policy = self.register.inline(&row.id).find(|policy| policy.name == name).cloned();
        let policy = policy.ok_or_else(|| {
            Problem::missing("NoSuchEntity", format!("The {kind} policy with name {name} cannot be found."))
        })?;
        self.xml.text(parameter(kind), &row.name);
        self.xml.text("PolicyName", &policy.name);
        self.xml.text("PolicyDocument", escaped(&policy.document));
        Ok(())
    }

    pub(super) fn list_inline(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let mut names: Vec<String> = self.register.inline(&row.id).map(|policy| policy.name.clone()).collect();
        names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
        self.page("PolicyNames", names, Clone::clone, |xml, name| xml.raw(&name))
    }

    pub(super) async fn delete_inline(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let name = self.params.need("PolicyName")?;
        self.metadata()?.remove_inline_policy(&row.id, name).await?;
        self.changed().await
    }
}
