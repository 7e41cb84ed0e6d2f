//! Roles.

use super::Desk;
use super::principals::write;
use crate::admin::Result;
use crate::admin::documents::{MAX_SESSION, SESSIONS, check_trust};
use crate::metadata::{PrincipalChange, PrincipalKind, Trust};

impl Desk<'_> {
    pub(super) async fn create_role(&mut self) -> Result<()> {
        let document = self.params.need("AssumeRolePolicyDocument")?.to_owned();
        let max_session = self.params.number("MaxSessionDuration", SESSIONS.0, SESSIONS.1)?.unwrap_or(MAX_SESSION);
        let row = self.fresh(PrincipalKind::Role, Some(Trust { document, max_session })).await?;
        row.trust.as_ref().map_or(Ok(()), |trust| check_trust(&trust.document))?;
        self.metadata()?.create_principal(&row).await?;
        self.changed().await?;
        self.register = self.admin.register(&self.register.account).await?;
        self.show(&row);
        Ok(())
    }

    pub(super) fn get_role(&mut self) -> Result<()> {
        let row = self.principal(PrincipalKind::Role)?;
        self.show(&row);
        Ok(())
    }

    /// `whole`: how long its sessions last, too; the answer is not the same then.
    pub(super) async fn update_role(&mut self, whole: bool) -> Result<()> {
        let mut row = self.principal(PrincipalKind::Role)?;
        let description = self.params.any("Description").map(|_| self.description()).transpose()?;
        let most = self.params.number("MaxSessionDuration", SESSIONS.0, SESSIONS.1)?;
        let mut trust = row.trust.clone();
        if let (Some(trust), Some(most)) = (&mut trust, most.filter(|_| whole)) {
            trust.max_session = most;
        }
        let change = PrincipalChange { description: description.clone(), trust, ..PrincipalChange::default() };
        self.metadata()?.change_principal(&row.id, &change).await?;
        self.changed().await?;
        if whole {
            return Ok(());
        }
        row.description = description.unwrap_or(row.description);
        self.xml.within("Role", |xml| write(xml, &row, None, true));
        Ok(())
    }

    pub(super) async fn update_trust(&mut self) -> Result<()> {
        let row = self.principal(PrincipalKind::Role)?;
        let document = self.params.need("PolicyDocument")?.to_owned();
        check_trust(&document)?;
        let max_session = row.trust.map_or(MAX_SESSION, |trust| trust.max_session);
        let change = PrincipalChange { trust: Some(Trust { document, max_session }), ..PrincipalChange::default() };
        self.metadata()?.change_principal(&row.id, &change).await?;
        self.changed().await
    }
}
