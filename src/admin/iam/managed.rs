//! Policies that are attached to users, groups and roles.
//!
//! AWS's own policies are there by the names that tools know; the ones here become rows of the account once they are attached.

use super::principals::element;
use super::{Desk, escaped, parameter};
use crate::access::names;
use crate::admin::documents::{POLICY, check_attached, check_policy};
use crate::admin::xml::Xml;
use crate::admin::{Problem, Result};
use crate::metadata::{Error, OF_AWS, PolicyRow, PolicyVersion, PrincipalKind};

/// What AWS's own policies are called.
const AWS_ARN: &str = "arn:aws:iam::aws:policy/";

/// AWS's own policies.
const AWS_POLICIES: [(&str, &str); 5] = [
    ("AdministratorAccess", r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#),
    (
        "AmazonS3FullAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":"*"}]}"#,
    ),
    (
        "AmazonS3ReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*"],"Resource":"*"}]}"#,
    ),
    ("IAMFullAccess", r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:*"],"Resource":"*"}]}"#),
    (
        "IAMReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*","iam:Generate*"],"Resource":"*"}]}"#,
    ),
];

fn none(arn: &str) -> Problem {
    Problem::missing("NoSuchEntity", format!("Policy {arn} does not exist or is not attachable."))
}

fn number(version: &str) -> Result<i64> {
    let number = version.strip_prefix('v').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Problem::bad("ValidationError", format!("{version:?} is no version's id, as v1 is")))
}

fn write_version(xml: &mut Xml, version: &PolicyVersion, default: i64, whole: bool) {
    if whole {
        xml.text("Document", escaped(&version.document));
    }
    xml.text("VersionId", format!("v{}", version.version));
    xml.text("IsDefaultVersion", (version.version == default).to_string());
    xml.moment("CreateDate", version.created);
}

impl Desk<'_> {
    /// The policy of this name that there is as a row.
    fn policy_row(&self, arn: &str) -> Option<&PolicyRow> {
        self.register.policies().into_iter().find(|row| row.arn() == arn)
    }

    /// The policy that the request names, if whoever asks may do this to it.
    fn policy(&self) -> Result<PolicyRow> {
        let arn = self.params.need("PolicyArn")?;
        if !arn.starts_with("arn:") || arn.len() < 20 {
            return Err(Problem::bad("InvalidInput", format!("ARN {arn} is not valid.")));
        }
        self.may(arn)?;
        self.policy_row(arn).cloned().ok_or_else(|| none(arn))
    }

    /// The same, which is not AWS's.
    fn own_policy(&self) -> Result<PolicyRow> {
        let row = self.policy()?;
        if row.path == OF_AWS {
            return Err(Problem::denied("AWS's own policies cannot be changed"));
        }
        Ok(row)
    }

    /// The id of a policy; one of AWS's becomes a row.
    pub(super) async fn policy_id(&self, arn: &str) -> Result<String> {
        if let Some(row) = self.policy_row(arn) {
            return Ok(row.id.clone());
        }
        let known = arn.strip_prefix(AWS_ARN).and_then(|name| AWS_POLICIES.iter().find(|(known, _)| *known == name));
        let (name, document) = known.ok_or_else(|| none(arn))?;
        let row = self.row(name, OF_AWS, "")?;
        match self.metadata()?.create_policy(&row, document).await {
            Ok(()) => Ok(row.id),
            Err(Error::IdentityExists { .. }) => {
                // Somebody else was faster, or the account has one of its own by this name.
                let register = self.admin.register(&self.register.account).await?;
                let found = register.policy(name).filter(|row| row.arn() == arn).map(|row| row.id.clone());
                found.ok_or_else(|| {
                    Problem::conflict("EntityAlreadyExists", format!("The account has a policy {name} of its own"))
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn row(&self, name: &str, path: &str, description: &str) -> Result<PolicyRow> {
        let row = names::fresh_policy(&self.register.account, name, self.now())?;
        Ok(PolicyRow { path: path.to_owned(), description: description.to_owned(), ..row })
    }

    fn write_policy(&self, xml: &mut Xml, row: &PolicyRow, whole: bool) {
        let attached = self.register.rows().attachments.iter().filter(|(_, policy)| *policy == row.id).count();
        xml.text("PolicyName", &row.name);
        xml.text("PolicyId", &row.id);
        xml.text("Arn", row.arn());
        xml.text("Path", if row.path == OF_AWS { "/" } else { &row.path });
        xml.text("DefaultVersionId", format!("v{}", row.default_version));
        xml.text("AttachmentCount", attached.to_string());
        let bounded = self.register.rows().principals.iter().filter(|who| who.boundary.as_deref() == Some(&*row.id));
        xml.text("PermissionsBoundaryUsageCount", bounded.count().to_string());
        xml.text("IsAttachable", "true");
        if whole && !row.description.is_empty() {
            xml.text("Description", &row.description);
        }
        xml.moment("CreateDate", row.created);
        let changed = self.register.versions(row).next_back().map_or(row.created, |version| version.created);
        xml.moment("UpdateDate", changed);
    }

    pub(super) async fn create_policy(&mut self) -> Result<()> {
        let (name, path) = (self.params.need("PolicyName")?, self.path()?);
        names::policy(name)?;
        self.may(&format!("arn:aws:iam::{}:policy{path}{name}", self.register.account))?;
        if path == OF_AWS {
            return Err(Problem::bad("InvalidInput", format!("The path {OF_AWS} is that of AWS's own policies")));
        }
        if !self.params.tags()?.is_empty() {
            return Err(Problem::not_built("Tags of policies"));
        }
        let document = self.params.need("PolicyDocument")?;
        check_policy(document, POLICY)?;
        let row = self.row(name, path, &self.description()?)?;
        self.metadata()?.create_policy(&row, document).await?;
        self.changed().await?;
        let mut xml = Xml::default();
        xml.within("Policy", |xml| self.write_policy(xml, &row, true));
        self.xml = xml;
        Ok(())
    }

    pub(super) fn get_policy(&mut self) -> Result<()> {
        let row = self.policy()?;
        let mut xml = Xml::default();
        xml.within("Policy", |xml| self.write_policy(xml, &row, true));
        self.xml = xml;
        Ok(())
    }

    pub(super) fn list_policies(&mut self) -> Result<()> {
        let (prefix, scope) = (self.params.get("PathPrefix").unwrap_or("/"), self.params.get("Scope").unwrap_or("All"));
        self.may(&format!("arn:aws:iam::{}:policy{prefix}", self.register.account))?;
        let (prefix, only_attached) = (prefix.to_owned(), self.params.flag("OnlyAttached"));
        let in_scope = |row: &PolicyRow| match scope {
            "AWS" => row.path == OF_AWS,
            "Local" => row.path != OF_AWS,
            _ => true,
        };
        let register = self.register.clone();
        let is_attached = |row: &PolicyRow| register.rows().attachments.iter().any(|(_, policy)| *policy == row.id);
        let rows = register.policies().into_iter().filter(|row| in_scope(row) && (!only_attached || is_attached(row)));
        let path = |row: &PolicyRow| if row.path == OF_AWS { "/".to_owned() } else { row.path.clone() };
        let rows: Vec<PolicyRow> = rows.filter(|row| path(row).starts_with(&prefix)).cloned().collect();
        let written: Vec<(String, Xml)> = rows
            .iter()
            .map(|row| {
                let mut xml = Xml::default();
                self.write_policy(&mut xml, row, false);
                (row.name.clone(), xml)
            })
            .collect();
        self.page("Policies", written, |(name, _)| name.clone(), |xml, (_, inner)| xml.append(inner))
    }

    pub(super) async fn delete_policy(&mut self) -> Result<()> {
        let row = self.own_policy()?;
        if self.register.versions(&row).count() > 1 {
            let message = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions.";
            return Err(Problem::conflict("DeleteConflict", message));
        }
        self.metadata()?.remove_policy(&row.id, false).await?;
        self.changed().await
    }

    pub(super) async fn create_version(&mut self) -> Result<()> {
        let row = self.own_policy()?;
        let document = self.params.need("PolicyDocument")?.to_owned();
        check_policy(&document, POLICY)?;
        let (is_default, created) = (self.params.flag("SetAsDefault"), self.now());
        let number = self.metadata()?.add_policy_version(&row.id, &document, is_default, false, created).await?;
        self.changed().await?;
        let version = PolicyVersion { policy: row.id, version: number, document, created };
        let default = if is_default { number } else { row.default_version };
        self.xml.within("PolicyVersion", |xml| write_version(xml, &version, default, false));
        Ok(())
    }

    pub(super) fn get_version(&mut self) -> Result<()> {
        let row = self.policy()?;
        let id = self.params.need("VersionId")?;
        let number = number(id)?;
        let found = self.register.versions(&row).find(|version| version.version == number).cloned();
        let version = found.ok_or_else(|| {
            Problem::missing("NoSuchEntity", format!("Policy {} version {id} does not exist", row.arn()))
        })?;
        self.xml.within("PolicyVersion", |xml| write_version(xml, &version, row.default_version, true));
        Ok(())
    }

    pub(super) fn list_versions(&mut self) -> Result<()> {
        let row = self.policy()?;
        let versions: Vec<PolicyVersion> = self.register.versions(&row).rev().cloned().collect();
        // There are five at most: the order is not that of names.
        self.xml.list("Versions", versions, |xml, version| write_version(xml, &version, row.default_version, false));
        self.xml.text("IsTruncated", "false");
        Ok(())
    }

    pub(super) async fn delete_version(&mut self) -> Result<()> {
        let row = self.own_policy()?;
        self.metadata()?.remove_policy_version(&row.id, number(self.params.need("VersionId")?)?).await?;
        self.changed().await
    }

    pub(super) async fn set_default_version(&mut self) -> Result<()> {
        let row = self.own_policy()?;
        self.metadata()?.set_default_policy_version(&row.id, number(self.params.need("VersionId")?)?).await?;
        self.changed().await
    }

    pub(super) async fn attach(&mut self, kind: PrincipalKind, attached: bool) -> Result<()> {
        let row = self.principal(kind)?;
        let arn = self.params.need("PolicyArn")?;
        if !attached {
            let policy = self
                .policy_row(arn)
                .filter(|policy| self.register.attached(&row.id).iter().any(|attached| attached.id == policy.id));
            let policy =
                policy.ok_or_else(|| Problem::missing("NoSuchEntity", format!("Policy {arn} was not found.")))?;
            self.metadata()?.set_attachment(&row.id, &policy.id, false).await?;
            return self.changed().await;
        }
        let already = self.register.attached(&row.id);
        if !already.iter().any(|policy| policy.arn() == arn) {
            check_attached(kind, already.len())?;
        }
        let policy = self.policy_id(arn).await?;
        self.metadata()?.set_attachment(&row.id, &policy, true).await?;
        self.changed().await
    }

    pub(super) fn list_attached(&mut self, kind: PrincipalKind) -> Result<()> {
        let row = self.principal(kind)?;
        let policies: Vec<PolicyRow> = self.register.attached(&row.id).into_iter().cloned().collect();
        self.page(
            "AttachedPolicies",
            policies,
            |row| row.name.clone(),
            |xml, row| {
                xml.text("PolicyName", &row.name);
                xml.text("PolicyArn", row.arn());
            },
        )
    }

    /// All that a policy is attached to: in one page, as AWS would need a marker for three lists.
    pub(super) fn entities(&mut self) -> Result<()> {
        use PrincipalKind::{Group, Role, User};
        let row = self.policy()?;
        let wanted = self.params.get("EntityFilter").unwrap_or_default().to_owned();
        for kind in [Group, User, Role] {
            let holders = self.register.holders(&row.id, kind);
            let shown = if wanted.is_empty() || wanted == element(kind) { holders } else { Vec::new() };
            let shown: Vec<(String, String)> =
                shown.into_iter().map(|row| (row.name.clone(), row.id.clone())).collect();
            self.xml.list(&format!("Policy{}s", element(kind)), shown, |xml, (name, id)| {
                xml.text(parameter(kind), name);
                xml.text(&format!("{}Id", element(kind)), id);
            });
        }
        self.xml.text("IsTruncated", "false");
        Ok(())
    }
}
