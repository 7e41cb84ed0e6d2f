//! Groups.

use super::principals::write;
use super::{Desk, nobody};
use crate::admin::Result;
use crate::metadata::{PrincipalKind, PrincipalRow};

impl Desk<'_> {
    pub(super) fn get_group(&mut self) -> Result<()> {
        let row = self.principal(PrincipalKind::Group)?;
        self.show(&row);
        let users: Vec<PrincipalRow> = self.register.members(&row.id).into_iter().cloned().collect();
        self.page("Users", users, |row| row.name.clone(), |xml, row| write(xml, &row, None, false))
    }

    pub(super) async fn set_membership(&mut self, member: bool) -> Result<()> {
        let group = self.principal(PrincipalKind::Group)?;
        let name = self.params.need("UserName")?;
        let user = self.register.principal(PrincipalKind::User, name);
        let user = user.ok_or_else(|| nobody(PrincipalKind::User, name))?;
        self.metadata()?.set_membership(&group.id, &user.id, member).await?;
        self.changed().await
    }

    pub(super) fn groups_of_user(&mut self) -> Result<()> {
        let row = self.principal(PrincipalKind::User)?;
        let groups: Vec<PrincipalRow> = self.register.groups(&row.id).into_iter().cloned().collect();
        self.page("Groups", groups, |row| row.name.clone(), |xml, row| write(xml, &row, None, false))
    }
}
