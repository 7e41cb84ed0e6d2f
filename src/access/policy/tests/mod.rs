//! What AWS documents, operator by operator and table by table; what is hostile; and an evaluator of its own to compare with.

#![allow(clippy::unwrap_used)]

mod conditions;
mod documents;
mod evaluation;
mod hostile;
mod naive;
mod public;

use std::sync::Arc;

use super::variables::{Facts, Values};
use super::*;
use crate::access::{Account, Federation, Kind, PublicAccessBlock};

const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";

fn account(id: &str) -> Arc<Account> {
    Arc::new(Account {
        id: id.into(),
        canonical_id: id.repeat(6).get(..64).unwrap().into(),
        name: "name".into(),
        email: None,
        public_access_block: PublicAccessBlock::default(),
    })
}

fn root(account_id: &str) -> Identity {
    Identity::root(account(account_id), "AKIA")
}

fn with_policies(mut who: Identity, policies: &[&str]) -> Identity {
    who.policies = policies.iter().map(|text| Arc::new(identity_policy(text))).collect();
    who
}

/// The user `path` + `name` of an account.
fn user(account_id: &str, name: &str, policies: &[&str]) -> Identity {
    let kind = Kind::User { id: "AIDAEXAMPLE".into(), name: name.into(), path: "/".into() };
    with_policies(Identity { kind, ..root(account_id) }, policies)
}

/// The session `s` of a role.
fn role(account_id: &str, name: &str, policies: &[&str]) -> Identity {
    let kind = Kind::Role { id: "AROAEXAMPLE".into(), name: name.into(), path: "/".into(), session: "s".into() };
    with_policies(Identity { kind, ..root(account_id) }, policies)
}

fn with_boundary(who: Identity, text: &str) -> Identity {
    Identity { boundary: Some(Arc::new(identity_policy(text))), ..who }
}

fn with_session(who: Identity, text: &str) -> Identity {
    Identity { session: Some([Arc::new(identity_policy(text))].into()), ..who }
}

fn identity_policy(text: &str) -> Policy {
    Policy::parse(text, PolicyKind::Identity).unwrap()
}

/// The policy of `bucket` with this statement, or these.
fn bucket_policy(statements: &str) -> Policy {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
    Policy::parse(&text, PolicyKind::Bucket("bucket")).unwrap()
}

fn context(pairs: &[(&str, &str)]) -> Context {
    let mut context = Context::default();
    for (key, value) in pairs {
        context.add(key, *value);
    }
    context
}

/// Asks for an object of [`OWNER`]'s `bucket`.
fn get(who: &Identity, policy: Option<&Policy>) -> bool {
    ask(who, policy, "s3:GetObject", "arn:aws:s3:::bucket/key", &Context::default()).allowed
}

fn ask(who: &Identity, policy: Option<&Policy>, action: &str, resource: &str, context: &Context) -> Decision {
    let layers = Layers { resource: policy, acl: AclGrant::Nobody, owner: Some(OWNER) };
    decide(&Asked { who, action, resource, context }, &layers)
}

const ALLOW_ALL: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const ALLOW_PUT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
const DENY_GET: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"NoGet","Effect":"Deny","Action":"s3:Get*","Resource":"*"}]}"#;
