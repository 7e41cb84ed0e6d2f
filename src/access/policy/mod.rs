//! The policy language of AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//!
//! Pure: a document and what is asked in, a verdict out.

use std::collections::BTreeMap;

use super::Identity;

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
pub struct Policy {}

/// The condition keys of a request, in lower case, with their values.
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

/// Everything that has a say in one question.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The policy of what is asked for.
    pub resource: Option<&'a Policy>,
    /// Whether ACLs allow it.
    pub acl: bool,
    /// The account that owns what is asked for (12 digits); `None` if nobody does, as of `s3:ListAllMyBuckets`.
    pub owner: Option<&'a str>,
}

/// How a question was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What decided: a statement's `Sid`, or which rule. For the audit log.
    pub because: String,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`]: it is none, or none of this kind.
    pub fn parse(_text: &str, _kind: PolicyKind<'_>) -> Result<Self, PolicyError> {
        Err(PolicyError("policies are not implemented".to_owned()))
    }

    /// Whether it gives anybody access: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.
    pub fn is_public(&self) -> bool {
        false
    }

    /// Whether a condition, or a variable, of it is about a key that starts so (in lower case).
    pub fn mentions(&self, _key: &str) -> bool {
        false
    }
}

/// Decides in AWS's order: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
pub fn decide(asked: &Asked<'_>, layers: &Layers<'_>) -> Decision {
    let own = layers.owner.is_none_or(|owner| owner == &*asked.who.account.id);
    let allowed = layers.acl || (asked.who.is_root() && own);
    Decision { allowed, because: "the account's own".to_owned() }
}
