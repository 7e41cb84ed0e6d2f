//! Decisions about a GET: how long the policies take, from a bucket's and the user's own.

#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ninefold::access::policy::{AclGrant, Asked, Context, Layers, Policy, PolicyKind, builtin, decide};
use ninefold::access::{Account, Identity, Kind, PublicAccessBlock};

const OWNER: &str = "111122223333";

/// A bucket's policy with `count` statements that are about others, before one that denies what comes without TLS.
fn bucket_policy(count: usize) -> Policy {
    let other = |number| {
        format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{OWNER}:user/other{number}"}},"Action":["s3:GetObject","s3:PutObject"],
                "Resource":"arn:aws:s3:::bucket/other{number}/*","Condition":{{"IpAddress":{{"aws:SourceIp":"192.0.2.0/24"}}}}}},"#
        )
    };
    let others: String = (0..count).map(other).collect();
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{others}{{"Effect":"Deny","Principal":"*","Action":"s3:*",
            "Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"],"Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}]}}"#
    );
    Policy::parse(&text, PolicyKind::Bucket("bucket")).expect("a policy")
}

fn user(policies: &[Arc<Policy>]) -> Identity {
    let account = Account {
        id: OWNER.into(),
        canonical_id: "0".repeat(64).into(),
        name: "owner".into(),
        email: None,
        public_access_block: PublicAccessBlock::default(),
    };
    let kind = Kind::User { id: "AIDAEXAMPLE".into(), name: "bob".into(), path: "/".into() };
    Identity { kind, policies: policies.into(), ..Identity::root(Arc::new(account), "AKIAEXAMPLE") }
}

fn policy(c: &mut Criterion) {
    let mut context = Context::default();
    for (key, value) in [
        ("aws:SourceIp", "198.51.100.7"),
        ("aws:SecureTransport", "true"),
        ("aws:CurrentTime", "2026-01-31T12:00:00Z"),
        ("aws:UserAgent", "aws-cli/2.0"),
        ("s3:signatureversion", "AWS4-HMAC-SHA256"),
    ] {
        context.add(key, value);
    }
    let home = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"}}"#;
    let home = Arc::new(Policy::parse(home, PolicyKind::Identity).expect("a policy"));
    let (_, document) = builtin("readonly").expect("it is built in");
    let readonly = Arc::new(Policy::parse(document, PolicyKind::Identity).expect("it is a policy"));
    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for (name, who, statements) in [
        ("readonly", user(&[readonly]), None),
        ("a home by a variable", user(&[Arc::clone(&home)]), None),
        ("a home, a policy of 2 statements", user(&[Arc::clone(&home)]), Some(1)),
        ("a home, a policy of 50 statements", user(&[home]), Some(49)),
    ] {
        let resource = statements.map(bucket_policy);
        let layers = Layers { resource: resource.as_ref(), acl: AclGrant::Nobody, owner: Some(OWNER) };
        let (action, key) = ("s3:GetObject", "arn:aws:s3:::bucket/home/bob/2026/january/photo.jpg");
        let asked = Asked { who: &who, action, resource: key, context: &context };
        assert!(decide(&asked, &layers).allowed, "{name}");
        group.bench_function(name, |b| b.iter(|| decide(black_box(&asked), black_box(&layers))));
    }
    group.finish();
}

criterion_group!(benches, policy);
criterion_main!(benches);
