//! The policy language of AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//!
//! Pure: a document and what is asked in, a verdict out.

mod builtin;
mod condition;
mod document;
mod evaluate;
mod json;
mod names;
mod pattern;
mod principal;
mod public;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeMap;

use super::Identity;
pub use builtin::{BUILTIN, builtin};

/// What a policy belongs to, which decides what it must and must not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind<'a> {
    /// A bucket, of this name: its statements name principals, and resources within the bucket alone.
    Bucket(&'a str),
    /// A user, group, role, key or session: its statements name no principals.
    Identity,
    /// A role: who may take it. Its statements name principals and no resources.
    Trust,
}

/// Why a document is no policy, as S3 and IAM say it (`MalformedPolicy`, `MalformedPolicyDocument`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// A policy document that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    of: document::Of,
    statements: Vec<document::Statement>,
}

/// The condition keys of a request, in lower case, with their values. Those that say who asks (`aws:PrincipalArn`,
/// `aws:PrincipalAccount`, `aws:PrincipalType`, `aws:PrincipalIsAWSService`, `aws:ViaAWSService`, `aws:userid`, `aws:username`,
/// `aws:FederatedProvider` and the claims of its [`Federation`](crate::access::Federation)) are found out from the [`Identity`], whatever is here.
///
/// The name of a tag is part of its key and therefore in any case, too, as AWS has it: an object with the tags `Team` and `team` has
/// two values of `s3:ExistingObjectTag/team`: a statement that allows applies if both are as it says, one that denies if either is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Gives a key, in any case, one more value.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// The values of a key, in any case; `None` if the request has none.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// By whom.
    pub who: &'a Identity,
    /// `s3:GetObject`
    pub action: &'a str,
    /// `arn:aws:s3:::bucket/key`
    pub resource: &'a str,
    /// What conditions are about.
    pub context: &'a Context,
}

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever others allow.
    Deny,
}

/// Whom ACLs grant what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AclGrant {
    /// Nobody that the requester is of.
    Nobody,
    /// The requester's account, by its canonical id: its root, and those that the account lets in itself. Of the owner's account its grant
    /// to itself lets in no user.
    Account,
    /// Everybody, or everybody who signed.
    Everybody,
}

/// Everything that has a say in one question.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The policy of what is asked for: of a bucket, or the trust of a role, without which nobody takes it.
    pub resource: Option<&'a Policy>,
    /// Whether ACLs allow it.
    pub acl: AclGrant,
    /// The account that owns what is asked for (12 digits); `None` if nobody does, as of `s3:ListAllMyBuckets`: then policies of
    /// identities alone decide, and every account's root may.
    pub owner: Option<&'a str>,
}

/// How a question was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What decided: a statement's layer and `Sid` (or number, from 1), or which rule. For the audit log.
    pub because: String,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`]: it is none, or none of this kind.
    pub fn parse(text: &str, kind: PolicyKind<'_>) -> Result<Self, PolicyError> {
        document::parse(text, kind)
    }

    /// Whether it gives anybody access: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.
    pub fn is_public(&self) -> bool {
        public::is_public(self)
    }

    /// Whether a condition, or a variable, of it is about a key that starts so (in lower case).
    pub fn mentions(&self, key: &str) -> bool {
        self.statements.iter().any(|statement| statement.keys().any(|own| own.starts_with(key)))
    }
}

/// Decides in AWS's order: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
pub fn decide(asked: &Asked<'_>, layers: &Layers<'_>) -> Decision {
    evaluate::decide(asked, layers)
}
