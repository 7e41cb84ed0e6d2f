//! Who decides: AWS's pages "Policy evaluation logic", "Permissions boundaries" and "AWS JSON policy elements: Principal".

use super::*;

fn allow_to(principal: &str) -> Policy {
    bucket_policy(&format!(
        r#"{{"Sid":"Let","Effect":"Allow","Principal":{principal},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}"#
    ))
}

fn deny_to(element: &str) -> Policy {
    bucket_policy(&format!(
        r#"[{{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}},
            {{"Sid":"No","Effect":"Deny",{element},"Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}]"#
    ))
}

#[test]
fn nobody_is_let_in_by_nothing() {
    for who in [
        Identity::anonymous(),
        user(OWNER, "u", &[]),
        role(OWNER, "r", &[]),
        root(OTHER),
        user(OTHER, "u", &[ALLOW_ALL]),
    ] {
        assert!(!get(&who, None));
    }
    assert!(get(&root(OWNER), None));
    assert!(get(&user(OWNER, "u", &[ALLOW_ALL]), None));
    assert!(get(&role(OWNER, "r", &[ALLOW_PUT, ALLOW_ALL]), None));
    assert!(!get(&user(OWNER, "u", &[ALLOW_PUT]), None));
}

#[test]
fn a_denial_in_any_layer_ends_it() {
    let u = |policies: &[&str]| user(OWNER, "u", policies);
    assert!(!get(&u(&[ALLOW_ALL, DENY_GET]), None));
    assert!(!get(&with_boundary(u(&[ALLOW_ALL]), DENY_GET), None));
    let both = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}]}"#;
    let everybody = allow_to(r#""*""#);
    assert!(!get(&with_boundary(u(&[ALLOW_ALL]), both), Some(&everybody)));
    assert!(!get(&with_session(u(&[ALLOW_ALL]), both), Some(&everybody)));
    let denied = deny_to(r#""Principal":"*""#);
    for who in [u(&[ALLOW_ALL]), root(OWNER), Identity::anonymous(), root(OTHER)] {
        let decision = ask(&who, Some(&denied), "s3:GetObject", "arn:aws:s3:::bucket/key", &Context::default());
        assert_eq!((decision.allowed, decision.because.to_string()), (false, "bucket policy: statement No".into()));
    }
}

#[test]
fn the_owner_s_root_can_always_put_the_policy_right() {
    let denied = deny_to(r#""Principal":"*""#);
    let may = |who: &Identity, action: &str| {
        ask(who, Some(&denied), action, "arn:aws:s3:::bucket", &Context::default()).allowed
    };
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"] {
        assert!(may(&root(OWNER), action));
        assert!(!may(&user(OWNER, "u", &[ALLOW_ALL]), action));
        assert!(!may(&root(OTHER), action));
        assert!(!may(&with_session(root(OWNER), ALLOW_PUT), action), "a key with less than root's rights");
    }
    assert!(!may(&root(OWNER), "s3:ListBucket"));
}

#[test]
fn within_the_account_either_side_suffices() {
    for principal in [
        r#""*""#,
        r#"{"AWS":"*"}"#,
        r#"{"AWS":["arn:aws:iam::111122223333:user/x","arn:aws:iam::111122223333:user/u"]}"#,
    ] {
        assert!(get(&user(OWNER, "u", &[]), Some(&allow_to(principal))), "{principal}");
    }
    assert!(!get(&user(OWNER, "v", &[]), Some(&allow_to(r#"{"AWS":"arn:aws:iam::111122223333:user/u"}"#))));
    // The account is let in: who of it, it says itself.
    for principal in [r#"{"AWS":"111122223333"}"#, r#"{"AWS":"arn:aws:iam::111122223333:root"}"#] {
        assert!(!get(&user(OWNER, "u", &[]), Some(&allow_to(principal))));
        assert!(get(&user(OWNER, "u", &[ALLOW_ALL]), Some(&allow_to(principal))));
        assert!(get(&root(OWNER), Some(&allow_to(principal))));
    }
    let canonical = account(OWNER).canonical_id.to_string();
    assert!(get(&root(OWNER), Some(&allow_to(&format!(r#"{{"CanonicalUser":"{canonical}"}}"#)))));
}

#[test]
fn across_accounts_both_sides_are_needed() {
    let canonical = account(OTHER).canonical_id.to_string();
    let canonical = format!(r#"{{"CanonicalUser":"{canonical}"}}"#);
    for principal in [r#"{"AWS":"444455556666"}"#, r#"{"AWS":"arn:aws:iam::444455556666:root"}"#, r#""*""#, &canonical]
    {
        let policy = allow_to(principal);
        assert!(get(&root(OTHER), Some(&policy)), "{principal}");
        assert!(!get(&user(OTHER, "u", &[]), Some(&policy)));
        assert!(!get(&user(OTHER, "u", &[ALLOW_PUT]), Some(&policy)));
        assert!(get(&user(OTHER, "u", &[ALLOW_ALL]), Some(&policy)));
        assert!(get(&role(OTHER, "r", &[ALLOW_ALL]), Some(&policy)));
        assert!(!get(&with_boundary(user(OTHER, "u", &[ALLOW_ALL]), ALLOW_PUT), Some(&policy)));
        assert!(!get(&with_session(role(OTHER, "r", &[ALLOW_ALL]), ALLOW_PUT), Some(&policy)));
    }
    let named = allow_to(r#"{"AWS":"arn:aws:iam::444455556666:user/u"}"#);
    assert!(!get(&user(OTHER, "u", &[]), Some(&named)));
    assert!(get(&user(OTHER, "u", &[ALLOW_ALL]), Some(&named)));
    assert!(!get(&root(OTHER), Some(&named)));
    assert!(!get(&user(OWNER, "u", &[]), Some(&named)));
}

#[test]
fn anonymous_requests_are_let_in_by_everybody_s_statements_alone() {
    let anonymous = Identity::anonymous();
    assert!(get(&anonymous, Some(&allow_to(r#""*""#))));
    assert!(get(&anonymous, Some(&allow_to(r#"{"AWS":"*"}"#))));
    assert!(!get(&anonymous, Some(&allow_to(r#"{"AWS":"111122223333"}"#))));
    assert!(!get(&anonymous, Some(&allow_to(r#"{"Service":"logging.s3.amazonaws.com"}"#))));
}

/// AWS's table of what limits a grant of the resource's policy within the account.
#[test]
fn boundaries_and_sessions_limit_as_documented() {
    let user_arn = allow_to(r#"{"AWS":"arn:aws:iam::111122223333:user/u"}"#);
    let role_arn = allow_to(r#"{"AWS":"arn:aws:iam::111122223333:role/r"}"#);
    let session_arn = allow_to(r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/r/s"}"#);
    let everybody = allow_to(r#""*""#);
    let (u, r) = (user(OWNER, "u", &[]), role(OWNER, "r", &[]));
    for (who, policy, boundary, session) in [
        (&u, &user_arn, true, false),
        (&u, &everybody, true, false),
        (&r, &role_arn, false, false),
        (&r, &session_arn, true, true),
        (&r, &everybody, true, true),
    ] {
        assert!(get(who, Some(policy)));
        assert_eq!(get(&with_boundary(who.clone(), ALLOW_PUT), Some(policy)), boundary, "{policy:?}");
        assert_eq!(get(&with_session(who.clone(), ALLOW_PUT), Some(policy)), session, "{policy:?}");
        assert!(get(&with_session(with_boundary(who.clone(), ALLOW_ALL), ALLOW_ALL), Some(policy)));
    }
    // What identity policies allow is limited by both.
    for who in [user(OWNER, "u", &[ALLOW_ALL]), role(OWNER, "r", &[ALLOW_ALL])] {
        assert!(!get(&with_boundary(who.clone(), ALLOW_PUT), None));
        assert!(!get(&with_session(who.clone(), ALLOW_PUT), None));
        assert!(get(&with_session(with_boundary(who, ALLOW_ALL), ALLOW_ALL), None));
    }
    // They allow nothing themselves.
    assert!(!get(&with_session(with_boundary(u, ALLOW_ALL), ALLOW_ALL), None));
    assert!(!get(&with_session(root(OWNER), ALLOW_PUT), None));
    assert!(!get(&with_session(role(OWNER, "another", &[]), ALLOW_ALL), Some(&session_arn)));
}

#[test]
fn acls_grant_to_accounts_and_to_everybody() {
    let context = Context::default();
    let by_acl = |who: &Identity, acl| {
        let asked = Asked { who, action: "s3:GetObject", resource: "arn:aws:s3:::bucket/key", context: &context };
        decide(&asked, &Layers { resource: None, acl, owner: Some(OWNER) }).allowed
    };
    for (who, to_account, to_everybody) in [
        (Identity::anonymous(), false, true),
        (user(OWNER, "u", &[]), false, true),
        (root(OTHER), true, true),
        (user(OTHER, "u", &[]), false, false),
        (user(OTHER, "u", &[ALLOW_ALL]), true, true),
    ] {
        assert!(!by_acl(&who, AclGrant::Nobody));
        assert_eq!(by_acl(&who, AclGrant::Account), to_account, "{who:?}");
        assert_eq!(by_acl(&who, AclGrant::Everybody), to_everybody, "{who:?}");
    }
}

#[test]
fn what_nobody_owns_is_a_matter_of_identity_policies() {
    let context = Context::default();
    let list = |who: &Identity| {
        let asked = Asked { who, action: "s3:ListAllMyBuckets", resource: "arn:aws:s3:::*", context: &context };
        decide(&asked, &Layers { resource: None, acl: AclGrant::Everybody, owner: None }).allowed
    };
    assert!(list(&root(OTHER)) && list(&user(OTHER, "u", &[ALLOW_ALL])));
    assert!(!list(&user(OTHER, "u", &[ALLOW_PUT])) && !list(&Identity::anonymous()));
    assert!(!list(&with_session(root(OTHER), ALLOW_PUT)));
}

/// "You must also specify the account": all that the requester is has to be named.
#[test]
fn not_principal_denies_all_but_who_is_named_with_their_account() {
    let bob =
        deny_to(r#""NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/Bob","arn:aws:iam::111122223333:root"]}"#);
    assert!(get(&user(OWNER, "Bob", &[]), Some(&bob)));
    assert!(get(&root(OWNER), Some(&bob)));
    for who in [user(OWNER, "Alice", &[ALLOW_ALL]), Identity::anonymous(), root(OTHER), role(OWNER, "r", &[ALLOW_ALL])]
    {
        assert!(!get(&who, Some(&bob)), "{who:?}");
    }
    assert!(!get(&with_boundary(user(OWNER, "Bob", &[ALLOW_ALL]), ALLOW_ALL), Some(&bob)));
    let without_account = deny_to(r#""NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/Bob"}"#);
    assert!(!get(&user(OWNER, "Bob", &[]), Some(&without_account)));
    let session = deny_to(
        r#""NotPrincipal":{"AWS":["arn:aws:sts::111122223333:assumed-role/r/s","arn:aws:iam::111122223333:role/r","111122223333"]}"#,
    );
    assert!(get(&role(OWNER, "r", &[]), Some(&session)));
    assert!(!get(&role(OWNER, "q", &[]), Some(&session)));
    assert!(get(&Identity::anonymous(), Some(&deny_to(r#""NotPrincipal":"*""#))));
}

#[test]
fn an_account_is_denied_with_all_of_its_users() {
    let denied = deny_to(r#""Principal":{"AWS":"444455556666"}"#);
    assert!(!get(&root(OTHER), Some(&denied)));
    assert!(!get(&user(OTHER, "u", &[ALLOW_ALL]), Some(&denied)));
    assert!(get(&root("777788889999"), Some(&denied)));
}

#[test]
fn paths_are_part_of_a_principal() {
    let mut u = user(OWNER, "u", &[]);
    u.kind = Kind::User { id: "AIDA".into(), name: "u".into(), path: "/a/b/".into() };
    assert!(get(&u, Some(&allow_to(r#"{"AWS":"arn:aws:iam::111122223333:user/a/b/u"}"#))));
    assert!(!get(&u, Some(&allow_to(r#"{"AWS":"arn:aws:iam::111122223333:user/u"}"#))));
    assert!(!get(&u, Some(&allow_to(r#"{"AWS":"arn:aws:iam::111122223333:role/a/b/u"}"#))));
}

#[test]
fn nobody_takes_a_role_that_does_not_trust_them() {
    let trust = |principal: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}}}"#
        );
        Policy::parse(&text, PolicyKind::Trust).unwrap()
    };
    let context = Context::default();
    let take = |who: &Identity, policy: &Policy| {
        let resource = "arn:aws:iam::111122223333:role/r";
        let layers = Layers { resource: Some(policy), acl: AclGrant::Nobody, owner: Some(OWNER) };
        decide(&Asked { who, action: "sts:AssumeRole", resource, context: &context }, &layers).allowed
    };
    let account = trust(r#"{"AWS":"111122223333"}"#);
    assert!(take(&root(OWNER), &account) && take(&user(OWNER, "u", &[ALLOW_ALL]), &account));
    assert!(!take(&user(OWNER, "u", &[]), &account));
    let named = trust(r#"{"AWS":"arn:aws:iam::111122223333:user/u"}"#);
    assert!(take(&user(OWNER, "u", &[]), &named));
    assert!(!take(&user(OWNER, "v", &[ALLOW_ALL]), &named) && !take(&root(OWNER), &named));
    let everybody = trust(r#""*""#);
    assert!(take(&user(OWNER, "u", &[]), &everybody) && !take(&Identity::anonymous(), &everybody));
    let other = trust(r#"{"AWS":"444455556666"}"#);
    assert!(take(&root(OTHER), &other) && take(&user(OTHER, "u", &[ALLOW_ALL]), &other));
    assert!(!take(&user(OTHER, "u", &[]), &other) && !take(&Identity::anonymous(), &other));
}

/// Whom a provider knows, to the account [`OWNER`].
fn federated(provider: &str, claims: &[(&str, &str)]) -> Identity {
    let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
    let federation = Federation {
        provider: format!("arn:aws:iam::{OWNER}:oidc-provider/{provider}"),
        names: vec![provider.to_owned(), "jwt".to_owned()],
        claims: claims.collect(),
    };
    let kind = Kind::Federated { name: format!("{provider}/alice").into() };
    Identity { kind, federation: Some(Arc::new(federation)), ..root(OWNER) }
}

#[test]
fn a_role_trusts_a_provider_under_conditions() {
    let trust = |principal: &str, conditions: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},
            "Action":"sts:AssumeRoleWithWebIdentity","Condition":{conditions}}}]}}"#
        );
        Policy::parse(&text, PolicyKind::Trust).unwrap()
    };
    let context = Context::default();
    let takes = |who: &Identity, policy: &Policy, action| {
        let resource = "arn:aws:iam::111122223333:role/r";
        let layers = Layers { resource: Some(policy), acl: AclGrant::Nobody, owner: Some(OWNER) };
        decide(&Asked { who, action, resource, context: &context }, &layers).allowed
    };
    let take = |who: &Identity, policy: &Policy| takes(who, policy, "sts:AssumeRoleWithWebIdentity");
    let named = r#"{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com/x"}"#;
    let alice = federated("idp.example.com/x", &[("sub", "alice"), ("aud", "client")]);
    let any = trust(named, "{}");
    assert!(take(&alice, &any) && !takes(&alice, &any, "sts:AssumeRole"));
    assert!(!take(&federated("idp.example.com", &[("sub", "alice")]), &any));
    assert!(!take(&root(OWNER), &any) && !take(&user(OWNER, "u", &[ALLOW_ALL]), &any));
    let other = r#"{"Federated":"arn:aws:iam::444455556666:oidc-provider/idp.example.com/x"}"#;
    assert!(!take(&alice, &trust(other, "{}")));
    // Everybody, or everybody of the account, is nobody whom a provider knows.
    for principal in [r#""*""#, r#"{"AWS":"*"}"#, r#"{"AWS":"111122223333"}"#] {
        assert!(!take(&alice, &trust(principal, "{}")), "{principal}");
    }
    for (conditions, expected) in [
        (r#"{"StringEquals":{"idp.example.com/x:sub":"alice","idp.example.com/x:aud":"client"}}"#, true),
        (r#"{"StringLike":{"idp.example.com/X:SUB":"al*"}}"#, true),
        (
            r#"{"StringEquals":{"aws:FederatedProvider":"arn:aws:iam::111122223333:oidc-provider/idp.example.com/x"}}"#,
            true,
        ),
        (r#"{"StringEquals":{"idp.example.com/x:sub":"bob"}}"#, false),
        (r#"{"StringEquals":{"idp.example.com:sub":"alice"}}"#, false),
        (r#"{"StringEquals":{"idp.example.com/x:email":"alice"}}"#, false),
    ] {
        assert_eq!(take(&alice, &trust(named, conditions)), expected, "{conditions}");
    }
}

#[test]
fn claims_are_variables_and_nobody_else_can_say_them() {
    let home = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/${jwt:sub}"}]}"#;
    let alice = with_policies(federated("idp.example.com", &[("sub", "key")]), &[home]);
    assert!(get(&alice, None));
    assert!(!get(&with_policies(federated("idp.example.com", &[("sub", "*")]), &[home]), None));
    assert!(!get(&with_policies(federated("idp.example.com", &[]), &[home]), None));
    let own = context(&[("jwt:sub", "key"), ("aws:FederatedProvider", "x")]);
    let bob = with_policies(federated("idp.example.com", &[("sub", "bob")]), &[home]);
    assert!(!ask(&bob, None, "s3:GetObject", "arn:aws:s3:::bucket/key", &own).allowed);
    // A bucket's policy may name whoever a provider knows, but not to somebody who took a role.
    let policy = bucket_policy(
        r#"[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com"},
        "Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]"#,
    );
    let nobody = federated("idp.example.com", &[]);
    assert!(get(&nobody, Some(&policy)) && !get(&federated("elsewhere", &[]), Some(&policy)));
    assert!(!get(&with_session(nobody.clone(), ALLOW_PUT), Some(&policy)));
    let in_role = Identity { federation: nobody.federation, ..role(OWNER, "r", &[]) };
    assert!(!get(&in_role, Some(&policy)));
    let facts = Facts { who: &alice, context: &Context::default() };
    assert!(matches!(facts.values("aws:principaltype"), Some(Values::One(value)) if value == "FederatedUser"));
}

#[test]
fn a_decision_names_what_decided() {
    let because = |who: &Identity, policy: Option<&Policy>| {
        ask(who, policy, "s3:GetObject", "arn:aws:s3:::bucket/key", &Context::default()).because.to_string()
    };
    assert_eq!(because(&root(OWNER), None), "root of the account");
    assert_eq!(because(&user(OWNER, "u", &[ALLOW_PUT, ALLOW_ALL]), None), "identity policy: statement All");
    assert_eq!(because(&user(OWNER, "u", &[ALLOW_ALL, DENY_GET]), None), "identity policy: statement NoGet");
    assert_eq!(because(&Identity::anonymous(), Some(&allow_to(r#""*""#))), "bucket policy: statement Let");
    assert_eq!(because(&Identity::anonymous(), None), "nothing allows it");
    let sid = format!("a\\nb{}", "c".repeat(1_000));
    let named = bucket_policy(&format!(
        r#"[{{"Sid":"{sid}","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/*"}}]"#
    ));
    let expected = format!("bucket policy: statement a\\nb{}", "c".repeat(125));
    assert_eq!(because(&Identity::anonymous(), Some(&named)), expected, "it is one line of bounded length");
    let limited = with_boundary(user(OWNER, "u", &[ALLOW_ALL]), ALLOW_PUT);
    assert_eq!(because(&limited, None), "the permissions boundary does not allow it");
    let limited = with_session(user(OWNER, "u", &[ALLOW_ALL]), ALLOW_PUT);
    assert_eq!(because(&limited, None), "the session policy does not allow it");
    let mut named = user(OWNER, "u", &[]);
    named.policies =
        [Arc::new(identity_policy(ALLOW_PUT)), Arc::new(identity_policy(ALLOW_ALL).named("second"))].into();
    assert_eq!(because(&named, None), "identity policy second: statement All");
}

#[test]
fn the_built_in_policies_are_what_their_names_say() {
    let read = |(_, document): (&str, &str)| Policy::parse(document, PolicyKind::Identity).ok().map(Arc::new);
    assert!(BUILTIN.iter().all(|(name, _)| builtin(name).and_then(read).is_some()));
    assert!(builtin("nothing").is_none());
    let context = Context::default();
    let may = |name: &str, action: &str, resource: &str| {
        let mut who = user(OWNER, "u", &[]);
        who.policies = [builtin(name).and_then(read).unwrap()].into();
        decide(
            &Asked { who: &who, action, resource, context: &context },
            &Layers { resource: None, acl: AclGrant::Nobody, owner: Some(OWNER) },
        )
        .allowed
    };
    let object = "arn:aws:s3:::bucket/key";
    assert!(may("readonly", "s3:GetObject", object) && !may("readonly", "s3:PutObject", object));
    assert!(may("writeonly", "s3:PutObject", object) && !may("writeonly", "s3:GetObject", object));
    assert!(may("readwrite", "s3:DeleteObject", object) && !may("readwrite", "admin:ServerInfo", "*"));
    assert!(may("diagnostics", "admin:ServerInfo", "*") && !may("diagnostics", "admin:CreateUser", "*"));
    assert!(may("diagnostics", "ninefold:GetStatus", "*") && !may("diagnostics", "ninefold:StartJob", "*"));
    assert!(may("consoleAdmin", "ninefold:DeleteAccount", "arn:aws:ninefold:::account/1"));
    assert!(may("consoleAdmin", "admin:CreateUser", "*") && may("consoleAdmin", "s3:GetObject", object));
}
