//! Users.

use super::Desk;
use crate::access::Kind;
use crate::admin::Result;
use crate::metadata::PrincipalKind;

impl Desk<'_> {
    /// A user; without a name whoever asks.
    pub(super) fn get_user(&mut self) -> Result<()> {
        let name = match (self.params.get("UserName"), &self.call.who().kind) {
            (Some(name), _) => name.to_owned(),
            (None, Kind::User { name, .. }) => name.to_string(),
            (None, Kind::Root) => {
                let (who, created) = (self.call.who().clone(), self.made());
                self.may(&who.arn())?;
                self.xml.within("User", |xml| {
                    xml.text("UserId", who.user_id());
                    xml.text("Arn", who.arn());
                    xml.moment("CreateDate", created);
                });
                return Ok(());
            }
            (None, _) => self.params.need("UserName")?.to_owned(),
        };
        let row = self.principal_called(PrincipalKind::User, &name)?;
        self.show(&row);
        Ok(())
    }

    /// When the account was made.
    fn made(&self) -> i64 {
        let accounts = &self.register.rows().accounts;
        accounts.iter().find(|row| row.id == self.register.account).map_or(0, |row| row.created)
    }
}
