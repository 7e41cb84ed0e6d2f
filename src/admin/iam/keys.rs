//! Access keys.

use super::{Desk, no_identity};
use crate::access::{Kind, names};
use crate::admin::{Problem, Result};
use crate::metadata::{AccessKeyChange, AccessKeyRow, IdentityKind, PrincipalKind, PrincipalRow};

/// Access keys of one user at most.
const KEYS: usize = 2;

impl Desk<'_> {
    /// The user that the request names; without a name whoever asks: `None` is the account itself.
    fn holder(&self) -> Result<Option<PrincipalRow>> {
        let name = match (self.params.get("UserName"), &self.call.who().kind) {
            (Some(name), _) => name.to_owned(),
            (None, Kind::User { name, .. }) => name.to_string(),
            (None, Kind::Root) => {
                self.may(&self.call.who().arn())?;
                return Ok(None);
            }
            (None, _) => self.params.need("UserName")?.to_owned(),
        };
        self.principal_called(PrincipalKind::User, &name).map(Some)
    }

    /// The access key that the request names, of the user that it names.
    fn key(&self, holder: Option<&PrincipalRow>) -> Result<AccessKeyRow> {
        let access_key = self.params.need("AccessKeyId")?;
        let key = self.register.key(access_key).filter(|key| key.user.as_deref() == holder.map(|user| &*user.id));
        key.cloned().ok_or_else(|| no_identity(IdentityKind::AccessKey, access_key))
    }

    pub(super) async fn create_key(&mut self) -> Result<()> {
        let holder = self.holder()?;
        if self.register.keys(holder.as_ref().map(|user| &*user.id)).count() >= KEYS {
            return Err(Problem::conflict(
                "LimitExceeded",
                format!("Cannot exceed quota for AccessKeysPerUser: {KEYS}"),
            ));
        }
        let (access_key, secret) = (names::fresh_access_key(), names::fresh_secret_key());
        let (row, seal) = self.admin.sealed(&self.register.account, &access_key, &secret)?;
        let own = self.register.key(&self.call.who().access_key);
        let row = AccessKeyRow {
            user: holder.as_ref().map(|user| user.id.clone()),
            // Whoever is limited by his own key makes himself none that is not.
            policy: own
                .filter(|own| own.user.as_deref() == holder.as_ref().map(|user| &*user.id))
                .and_then(|own| own.policy.clone()),
            ..row
        };
        self.metadata()?.create_access_key(&row, &seal).await?;
        self.changed().await?;
        let name = holder.map_or_else(|| self.call.who().account.name.to_string(), |user| user.name);
        self.xml.within("AccessKey", |xml| {
            xml.text("UserName", name);
            xml.text("AccessKeyId", &row.access_key);
            xml.text("Status", "Active");
            xml.text("SecretAccessKey", secret.expose());
            xml.moment("CreateDate", row.created);
        });
        Ok(())
    }

    pub(super) fn list_keys(&mut self) -> Result<()> {
        let holder = self.holder()?;
        let keys: Vec<AccessKeyRow> = self.register.keys(holder.as_ref().map(|user| &*user.id)).cloned().collect();
        let name = holder.map_or_else(|| self.call.who().account.name.to_string(), |user| user.name);
        self.page(
            "AccessKeyMetadata",
            keys,
            |key| key.access_key.clone(),
            |xml, key| {
                xml.text("UserName", &name);
                xml.text("AccessKeyId", &key.access_key);
                xml.text("Status", if key.active { "Active" } else { "Inactive" });
                xml.moment("CreateDate", key.created);
            },
        )
    }

    pub(super) async fn update_key(&mut self) -> Result<()> {
        let holder = self.holder()?;
        let key = self.key(holder.as_ref())?;
        let active = match self.params.need("Status")? {
            "Active" => true,
            "Inactive" => false,
            status => {
                let message = format!("Value '{status}' at 'status' failed to satisfy constraint: [Active, Inactive]");
                return Err(Problem::bad("ValidationError", message));
            }
        };
        let change = AccessKeyChange { active: Some(active), ..AccessKeyChange::default() };
        self.metadata()?.change_access_key(&key.access_key, &change).await?;
        self.changed().await
    }

    pub(super) async fn delete_key(&mut self) -> Result<()> {
        let holder = self.holder()?;
        let key = self.key(holder.as_ref())?;
        self.metadata()?.remove_access_key(&key.access_key).await?;
        self.changed().await
    }

    pub(super) async fn key_last_used(&mut self) -> Result<()> {
        let access_key = self.params.need("AccessKeyId")?.to_owned();
        let key = self.register.key(&access_key).cloned();
        let user = key.as_ref().and_then(|key| self.register.by_id(key.user.as_deref()?)).cloned();
        self.may(&user.as_ref().map_or_else(|| self.arn(PrincipalKind::User, "/", "*"), PrincipalRow::arn))?;
        key.ok_or_else(|| no_identity(IdentityKind::AccessKey, &access_key))?;
        let uses = self.metadata()?.key_uses().await?;
        let used = uses.into_iter().find(|(key, _)| *key == access_key).map(|(_, used)| used);
        self.xml.some("UserName", user.map(|user| user.name));
        self.xml.within("AccessKeyLastUsed", |xml| {
            // Of more than that one was the last use nothing is written down.
            if let Some(used) = used {
                xml.moment("LastUsedDate", used);
            }
            xml.text("ServiceName", if used.is_some() { "s3" } else { "N/A" });
            xml.text("Region", "N/A");
        });
        Ok(())
    }
}
