//! Policies of one user, group or role.

use serde_json::Value;

use super::{Desk, Document, Done, Made, Shown, none};
use crate::access::names;
use crate::admin::Result;
use crate::admin::documents::check_inline;
use crate::metadata::{IdentityKind, InlinePolicy, PrincipalKind};

impl Desk<'_> {
    pub(super) async fn get_inline(&self, kind: PrincipalKind) -> Result<Shown<Value>> {
        let (row, name) = (self.principal(kind)?, self.name("policy"));
        let policy = self.register.inline(&row.id).find(|policy| policy.name == name);
        let policy = policy.ok_or_else(|| none(IdentityKind::InlinePolicy, name))?;
        Ok(Shown(serde_json::from_str(&policy.document).unwrap_or_else(|_| policy.document.as_str().into())))
    }

    pub(super) async fn put_inline(&self, kind: PrincipalKind, document: Document) -> Result<Made<Value>> {
        let (row, name) = (self.principal(kind)?, self.name("policy"));
        names::policy(name)?;
        let all = || self.register.inline(&row.id);
        let others = all().filter(|policy| policy.name != name).map(|policy| &*policy.document);
        check_inline(document.text(), (kind, &row.name), others)?;
        let anew = !all().any(|policy| policy.name == name);
        let new =
            InlinePolicy { principal: row.id.clone(), name: name.to_owned(), document: document.text().to_owned() };
        self.metadata()?.put_inline_policy(&new).await?;
        self.changed().await?;
        Ok(Made { anew, what: serde_json::from_str(document.text()).unwrap_or_default() })
    }

    pub(super) async fn delete_inline(&self, kind: PrincipalKind) -> Result<Done> {
        let row = self.principal(kind)?;
        self.metadata()?.remove_inline_policy(&row.id, self.name("policy")).await?;
        self.changed().await?;
        Ok(Done)
    }
}
