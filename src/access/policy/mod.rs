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
use std::fmt;
use std::sync::Arc;

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
    statements: Arc<[document::Statement]>,
    /// By which decisions name it, where there are several that may decide.
    name: Option<Arc<str>>,
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
    /// What decided.
    pub because: Reason,
}

/// What decided a question. Cheap to make: nothing is written out before somebody wants to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A statement.
    Statement {
        /// What its policy is for.
        layer: Layer,
        /// The policy's name, if it has one: a bucket has one policy, without.
        policy: Option<Arc<str>>,
        /// Its `Sid`, or its number, from 1. One line, of bounded length.
        statement: Arc<str>,
    },
    /// It is the root of the account that owns what is asked for.
    OwnersRoot,
    /// An ACL allows it.
    Acl,
    /// Its policy makes a bucket public, and that counts for its own account alone.
    PublicAccessBlock,
    /// Something would allow it, and a limit does not: [`Layer::Boundary`] or [`Layer::Session`].
    Limit(Layer),
    /// Nothing allows it.
    Nothing,
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// It says what a user, group or role may do.
    Identity,
    /// It is a bucket's.
    Bucket,
    /// It says who may take a role.
    Trust,
    /// It says what somebody may do at most.
    Boundary,
    /// It says what a key may do at most: a session's, or the key's own.
    Session,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity policy",
            Self::Bucket => "bucket policy",
            Self::Trust => "trust policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statement { layer, policy: None, statement } => write!(f, "{layer}: statement {statement}"),
            Self::Statement { layer, policy: Some(name), statement } => {
                write!(f, "{layer} {name}: statement {statement}")
            }
            Self::OwnersRoot => f.write_str("root of the account"),
            Self::Acl => f.write_str("ACL"),
            Self::PublicAccessBlock => f.write_str("public access block"),
            Self::Limit(layer) => write!(f, "the {layer} does not allow it"),
            Self::Nothing => f.write_str("nothing allows it"),
        }
    }
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`]: it is none, or none of this kind.
    pub fn parse(text: &str, kind: PolicyKind<'_>) -> Result<Self, PolicyError> {
        document::parse(text, kind)
    }

    /// The same under a name, by which decisions tell it from others.
    #[must_use]
    pub fn named(&self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self.clone() }
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
