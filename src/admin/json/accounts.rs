//! Accounts.

use schemars::JsonSchema;
use serde::Deserialize;

use super::page::Page;
use super::{Desk, Done, Fresh, Shown, none, some};
use crate::access::{PublicAccessBlock, Secret, names};
use crate::admin::view::{Account, AccountDetails, NewAccount};
use crate::admin::{Problem, Result};
use crate::metadata::{AccessKeyRow, AccountChange, AccountRow, IdentityKind};

/// An account that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Its name.
    name: String,
    /// Its e-mail address.
    #[serde(default)]
    email: Option<String>,
    /// The access key of the account itself; left out: a fresh one.
    #[serde(default)]
    access_key: Option<String>,
    /// Its secret; left out: a fresh one, which is shown.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    secret_key: Option<Secret>,
}

/// What is to be different about an account.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountUpdate {
    /// Its name.
    name: Option<String>,
    /// Its e-mail address; `null`: none.
    #[serde(deserialize_with = "some")]
    email: Option<Option<String>>,
    /// What of public access is blocked in all its buckets.
    public_access_block: Option<PublicAccessBlock>,
}

/// What an account is called in policies.
fn arn(id: &str) -> String {
    format!("arn:aws:ninefold:::account/{id}")
}

impl Desk<'_> {
    /// The account in the path.
    fn account(&self) -> Result<&AccountRow> {
        let name = self.name("account");
        let Some(row) = self.register.rows().account(Some(name)) else {
            self.may(&arn("*"))?;
            return Err(none(IdentityKind::Account, name));
        };
        self.may(&arn(&row.id))?;
        Ok(row)
    }

    pub(super) async fn list_accounts(&self) -> Result<Shown<Page<Account>>> {
        self.may(&arn(""))?;
        Ok(Shown(self.page(&self.register.rows().accounts, |row| &row.id, Account::from)?))
    }

    pub(super) async fn create_account(&self, new: AccountRequest) -> Result<Fresh<NewAccount>> {
        self.may(&arn(""))?;
        let AccountRequest { name, email, access_key, secret_key } = new;
        let row = names::fresh_account(&name, email.as_deref(), self.now())?;
        let (key, seal, shown) = self.fresh_key(&row.id, access_key, secret_key)?;
        let key = AccessKeyRow { policy: self.limit()?, ..key };
        self.metadata()?.create_account(&row, Some(&key), &seal).await?;
        self.changed().await?;
        Ok(Fresh(NewAccount { account: Account::from(&row), key: shown }))
    }

    pub(super) async fn get_account(&self) -> Result<Shown<AccountDetails>> {
        let row = self.account()?;
        Ok(Shown(AccountDetails::of(row, &self.register.of(&row.id))))
    }

    pub(super) async fn update_account(&self, new: AccountUpdate) -> Result<Shown<Account>> {
        let row = self.account()?;
        let AccountUpdate { name, email, public_access_block } = new;
        name.as_deref().map_or(Ok(()), names::account)?;
        email.as_ref().and_then(Option::as_deref).map_or(Ok(()), names::email)?;
        let block = public_access_block.map(|block| serde_json::to_string(&block)).transpose();
        let public_access_block = block.map_err(|_| Problem::Answer("a block cannot be JSON"))?;
        let change = AccountChange { name, email, public_access_block };
        let row = self.metadata()?.change_account(&row.id, &change).await?;
        self.changed().await?;
        Ok(Shown(Account::from(&row)))
    }

    pub(super) async fn delete_account(&self) -> Result<Done> {
        let row = self.account()?;
        self.metadata()?.remove_account(&row.id).await?;
        self.changed().await?;
        Ok(Done)
    }
}
