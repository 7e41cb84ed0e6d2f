//! Conditions and variables: AWS's pages "Condition operators", "Multivalued context keys" and "Policy elements: Variables and tags", and the
//! examples of S3's page "Examples of Amazon S3 bucket policies".

use super::*;

/// Whether a statement with this effect and condition is about a request by nobody with these keys.
fn applies(effect: &str, condition: &str, pairs: &[(&str, &str)]) -> bool {
    let policy = bucket_policy(&format!(
        r#"[{{"Effect":"{effect}","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{condition}}},
            {{"Effect":"{}","Principal":"*","Action":"s3:{}Object","Resource":"arn:aws:s3:::bucket/*"}}]"#,
        "Allow",
        if effect == "Deny" { "Get" } else { "Put" },
    ));
    let decision =
        ask(&Identity::anonymous(), Some(&policy), "s3:GetObject", "arn:aws:s3:::bucket/key", &context(pairs));
    decision.allowed == (effect == "Allow")
}

/// Whether a condition holds, which must not depend on the effect here.
fn holds(condition: &str, pairs: &[(&str, &str)]) -> bool {
    let (allow, deny) = (applies("Allow", condition, pairs), applies("Deny", condition, pairs));
    assert_eq!(allow, deny, "{condition} {pairs:?}");
    allow
}

#[test]
fn every_operator_compares_as_documented() {
    for (operator, key, own, values) in [
        (
            "StringEquals",
            "s3:prefix",
            r#""ab*""#,
            &[("ab*", true), ("abc", false), ("AB*", false), ("ab*c", false)][..],
        ),
        ("StringEquals", "s3:prefix", r#"["a",""]"#, &[("a", true), ("", true), ("b", false)]),
        (
            "StringEqualsIgnoreCase",
            "s3:prefix",
            r#""ÄB*""#,
            &[("äb*", true), ("ÄB*", true), ("äbc", false), ("äb", false)],
        ),
        ("StringLike", "s3:prefix", r#""a?c*""#, &[("abc", true), ("aäcd", true), ("ac", false), ("Abc", false)]),
        (
            "NumericEquals",
            "s3:max-keys",
            "10",
            &[("10", true), ("10.0", true), ("11", false), ("ten", false), ("", false)],
        ),
        ("NumericLessThan", "s3:max-keys", "10", &[("9", true), ("9.99", true), ("10", false), ("-1", true)]),
        ("NumericLessThanEquals", "s3:max-keys", r#""10""#, &[("10", true), ("10.01", false)]),
        (
            "NumericGreaterThan",
            "s3:max-keys",
            "9007199254740992",
            &[("9007199254740993", true), ("9007199254740992", false)],
        ),
        ("NumericGreaterThanEquals", "s3:max-keys", "1.5", &[("1.5", true), ("1.4", false)]),
        (
            "DateEquals",
            "aws:CurrentTime",
            r#""2026-01-31T12:00:00Z""#,
            &[
                ("2026-01-31T12:00:00Z", true),
                ("2026-01-31T13:00:00+01:00", true),
                ("1769860800", true),
                ("2026-01-31T12:00:01Z", false),
            ],
        ),
        (
            "DateLessThan",
            "aws:CurrentTime",
            r#""2026-01-31""#,
            &[("2026-01-30T23:59:59.9Z", true), ("2026-01-31T00:00:00Z", false)],
        ),
        (
            "DateLessThanEquals",
            "aws:EpochTime",
            r#""2026-01-31T12:00Z""#,
            &[("1769860800", true), ("1769860801", false)],
        ),
        (
            "DateGreaterThan",
            "aws:CurrentTime",
            "1769860800",
            &[("2026-01-31T12:00:01Z", true), ("2026-01-31T12:00:00Z", false)],
        ),
        (
            "DateGreaterThanEquals",
            "aws:CurrentTime",
            r#""20260131T120000Z""#,
            &[("2026-01-31T12:00:00Z", true), ("soon", false)],
        ),
        ("Bool", "aws:SecureTransport", "true", &[("true", true), ("TRUE", true), ("false", false), ("1", false)]),
        ("BinaryEquals", "s3:prefix", r#""QmluYXJ5""#, &[("QmluYXJ5", true), ("Binary", false), ("qmluYXJ5", false)]),
        (
            "IpAddress",
            "aws:SourceIp",
            r#"["203.0.113.0/24","2001:DB8:1234:5678::/64","198.51.100.7","::ffff:192.0.2.0/120"]"#,
            &[
                ("203.0.113.9", true),
                ("203.0.114.9", false),
                ("::ffff:203.0.113.9", true),
                ("2001:db8:1234:5678::1", true),
                ("2001:db8:1234:5679::1", false),
                ("198.51.100.7", true),
                ("198.51.100.8", false),
                ("192.0.2.255", true),
                ("192.0.3.0", false),
                ("nowhere", false),
            ],
        ),
        (
            "ArnLike",
            "aws:SourceArn",
            r#"["arn:aws:s3:*:*:log*","arn:aws:sns:us-east-1:111122223333:*"]"#,
            &[
                ("arn:aws:s3:::logs", true),
                ("arn:aws:s3:eu-west-1:1:logs:a:b", true),
                ("arn:aws:s3:x:y", false),
                ("arn:aws:s3::logs", false),
                ("arn:aws:sns:us-east-1:111122223333:t", true),
                ("arn:aws:sns:us-east-1:444455556666:111122223333:t", false),
            ],
        ),
        ("ArnEquals", "aws:SourceArn", r#""*""#, &[("arn:aws:s3:::logs", true), ("logs", false)]),
        ("ArnEquals", "aws:SourceArn", r#""arn:aws:s3*""#, &[("arn:aws:s3:::logs", false), ("arn:aws:s3*", false)]),
    ] {
        for (value, expected) in values {
            for (operator, expected) in [(operator.to_owned(), *expected), (negation(operator), !expected)] {
                if operator.is_empty() {
                    continue;
                }
                let condition = format!(r#"{{"{operator}":{{"{key}":{own}}}}}"#);
                assert_eq!(holds(&condition, &[(key, value)]), expected, "{condition} {value}");
            }
        }
    }
}

/// The operator that is true where this one is false; empty if there is none.
fn negation(operator: &str) -> String {
    match operator {
        "StringEquals" => "StringNotEquals",
        "StringEqualsIgnoreCase" => "StringNotEqualsIgnoreCase",
        "StringLike" => "StringNotLike",
        "NumericEquals" => "NumericNotEquals",
        "DateEquals" => "DateNotEquals",
        "IpAddress" => "NotIpAddress",
        "ArnLike" => "ArnNotLike",
        "ArnEquals" => "ArnNotEquals",
        _ => "",
    }
    .to_owned()
}

#[test]
fn a_key_that_is_not_there_fails_but_a_negation_or_if_exists() {
    for (operator, expected) in [
        ("StringEquals", false),
        ("StringLike", false),
        ("NumericLessThan", false),
        ("StringNotEquals", true),
        ("StringNotLike", true),
        ("NotIpAddress", true),
        ("ArnNotEquals", true),
        ("StringEqualsIfExists", true),
        ("StringNotEqualsIfExists", true),
        ("NumericLessThanIfExists", true),
        ("ForAllValues:StringEquals", true),
        ("ForAllValues:StringNotEquals", true),
        ("ForAnyValue:StringEquals", false),
        ("ForAnyValue:StringNotEquals", false),
    ] {
        let value = if operator.contains("Ip") { "10.0.0.0/8" } else { "1" };
        let condition = format!(r#"{{"{operator}":{{"aws:SourceVpc":"{value}"}}}}"#);
        assert_eq!(holds(&condition, &[]), expected, "{operator}");
    }
    let there = |value| holds(r#"{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}}"#, &[("aws:SourceVpc", value)]);
    assert!(there("vpc-1") && !there("vpc-2"));
}

#[test]
fn null_asks_whether_there_is_a_value() {
    let null =
        |wanted: &str, pairs: &[(&str, &str)]| holds(&format!(r#"{{"Null":{{"s3:x-amz-acl":{wanted}}}}}"#), pairs);
    for (pairs, is_null) in [(&[][..], true), (&[("s3:X-Amz-Acl", "private")], false), (&[("s3:x-amz-acl", "")], true)]
    {
        assert_eq!(null("true", pairs), is_null);
        assert_eq!(null(r#""false""#, pairs), !is_null);
    }
}

/// AWS's tables of ForAllValues and ForAnyValue.
#[test]
fn several_values_are_compared_by_set_operators() {
    let tags = |values: &[&'static str]| values.iter().map(|value| ("aws:TagKeys", *value)).collect::<Vec<_>>();
    for (values, all, any, all_not, any_not) in [
        (&["env"][..], true, true, false, false),
        (&["env", "web"], true, true, false, false),
        (&["env", "other"], false, true, false, true),
        (&["other"], false, false, true, true),
        (&["ENV"], false, false, true, true),
        // AWS calls a set of nothing but empty values empty.
        (&[""], true, false, true, true),
    ] {
        for (operator, expected) in [
            ("ForAllValues:StringEquals", all),
            ("ForAnyValue:StringEquals", any),
            ("ForAllValues:StringNotEquals", all_not),
            ("ForAnyValue:StringNotEquals", any_not),
        ] {
            let condition = format!(r#"{{"{operator}":{{"aws:TagKeys":["env","web"]}}}}"#);
            assert_eq!(holds(&condition, &tags(values)), expected, "{operator} {values:?}");
        }
    }
}

#[test]
fn all_conditions_of_a_statement_have_to_hold() {
    let both = r#"{"StringEquals":{"s3:prefix":"a","s3:delimiter":"/"},"Bool":{"aws:SecureTransport":"true"}}"#;
    let all = [("s3:prefix", "a"), ("s3:delimiter", "/"), ("aws:SecureTransport", "true")];
    assert!(holds(both, &all));
    for left_out in 0..all.len() {
        let others: Vec<_> = (0..all.len()).filter(|at| *at != left_out).map(|at| all[at]).collect();
        assert!(!holds(both, &others));
    }
}

#[test]
fn keys_are_in_any_case_and_so_are_names_of_tags() {
    assert!(holds(r#"{"StringEquals":{"AWS:sourceVPC":"v"}}"#, &[("aws:SourceVpc", "v")]));
    let tagged = r#"{"StringEquals":{"s3:ExistingObjectTag/Team":"a"}}"#;
    assert!(holds(tagged, &[("s3:ExistingObjectTag/team", "a")]));
    assert!(!holds(tagged, &[("s3:ExistingObjectTag/Team", "A")]));
}

#[test]
fn who_asks_is_not_the_context_s_to_say() {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"KEY":"VALUE"}}}}"#;
    let is = |who: fn(&[&str]) -> Identity, key: &str, value: &str| {
        let who = who(&[&text.replace("KEY", key).replace("VALUE", value)]);
        let lie = context(&[(key, "a lie")]);
        ask(&who, None, "s3:GetObject", "arn:aws:s3:::bucket/key", &lie).allowed
    };
    let u = |policies: &[&str]| user(OWNER, "u", policies);
    let r = |policies: &[&str]| role(OWNER, "r", policies);
    assert!(is(u, "aws:PrincipalArn", "arn:aws:iam::111122223333:user/u"));
    assert!(is(r, "aws:PrincipalArn", "arn:aws:iam::111122223333:role/r"));
    assert!(is(u, "aws:username", "u") && !is(r, "aws:username", "r") && !is(r, "aws:username", "a lie"));
    assert!(is(u, "aws:userid", "AIDAEXAMPLE") && is(r, "aws:userid", "AROAEXAMPLE:s"));
    assert!(is(u, "aws:PrincipalType", "User") && is(r, "aws:PrincipalType", "AssumedRole"));
    assert!(is(u, "aws:PrincipalAccount", OWNER));
    let nobody = |condition: &str| holds(condition, &[("aws:PrincipalArn", "a lie"), ("aws:username", "a lie")]);
    assert!(nobody(r#"{"Null":{"aws:PrincipalArn":"true","aws:PrincipalAccount":"true","aws:username":"true"}}"#));
    assert!(nobody(r#"{"StringEquals":{"aws:userid":"anonymous","aws:PrincipalType":"Anonymous"}}"#));
}

/// Whether a policy of its own with this resource lets a user with this name get a key.
fn may_get(name: &str, version: &str, resource: &str, key: &str) -> bool {
    let policy = format!(
        r#"{{"Version":"{version}","Statement":{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/{resource}"}}}}"#
    );
    let resource = format!("arn:aws:s3:::bucket/{key}");
    let context = context(&[("aws:PrincipalTag/Team", "red"), ("aws:TagKeys", "a"), ("aws:TagKeys", "b")]);
    ask(&user(OWNER, name, &[&policy]), None, "s3:GetObject", &resource, &context).allowed
}

#[test]
fn variables_stand_for_text_and_never_for_wildcards() {
    let home = |name: &str, key: &str| may_get(name, "2012-10-17", "home/${aws:username}/*", key);
    assert!(home("bob", "home/bob/x") && home("bob", "home/bob/"));
    assert!(!home("bob", "home/alice/x") && !home("bob", "home/bob"));
    for name in ["*", "?ob", "b*", "${aws:username}", "bob/../alice"] {
        assert!(!home(name, "home/bob/x") && !home(name, "home/alice/x"), "{name}");
        assert!(home(name, &format!("home/{name}/x")));
    }
    // The older language has none.
    assert!(!may_get("bob", "2008-10-17", "home/${aws:username}/*", "home/bob/x"));
    assert!(may_get("bob", "2008-10-17", "home/${aws:username}/*", "home/${aws:username}/x"));
}

#[test]
fn variables_have_defaults_spellings_and_escapes() {
    let may = |resource: &str, key: &str| may_get("bob", "2012-10-17", resource, key);
    assert!(may("${ AWS:PrincipalTag/team }/x", "red/x"));
    assert!(may("${aws:PrincipalTag/None, 'blue'}/x", "blue/x") && may("${aws:PrincipalTag/Team,'blue'}/x", "red/x"));
    assert!(may("${aws:PrincipalTag/None, ''}x", "x"));
    assert!(!may("${aws:PrincipalTag/None, 'b*'}/x", "blue/x") && may("${aws:PrincipalTag/None, 'b*'}/x", "b*/x"));
    assert!(may("a${*}b${?}c${$}{d}", "a*b?c${d}") && !may("a${*}b", "axb") && !may("a${?}b", "axb"));
    assert!(may("a$b{c}$", "a$b{c}$"));
    // Nothing stands for a key that is not there, or that has several values.
    assert!(!may("${aws:PrincipalTag/None}x", "x") && !may("${aws:PrincipalTag/None}*", "${aws:PrincipalTag/None}x"));
    assert!(!may("${aws:TagKeys}", "a") && !may("*${aws:TagKeys}", "b"));
    for malformed in
        ["${", "${}", "${aws:username", "${aws:username, blue}", "${aws:username, 'blue}", "${a${b}}", "${aws:*}"]
    {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{malformed}"}}}}"#
        );
        assert!(Policy::parse(&policy, PolicyKind::Identity).is_err(), "{malformed}");
    }
}

#[test]
fn conditions_have_variables_too() {
    let referer = |operator: &str, value: &str, pairs: &[(&str, &str)]| {
        holds(&format!(r#"{{"{operator}":{{"aws:Referer":"{value}"}}}}"#), pairs)
    };
    let pairs = [("aws:Referer", "a*-b"), ("s3:prefix", "a*"), ("aws:SourceArn", "arn:aws:s3:::b*")];
    assert!(referer("StringEquals", "${s3:prefix}-b", &pairs));
    assert!(referer("StringEqualsIgnoreCase", "${s3:prefix}-B", &pairs));
    assert!(referer("StringLike", "${s3:prefix}-*", &pairs) && !referer("StringLike", "${s3:prefix}", &pairs));
    let arns = |value: &str| holds(&format!(r#"{{"ArnLike":{{"aws:SourceArn":"{value}"}}}}"#), &pairs);
    assert!(
        arns("${aws:SourceArn}") && arns("arn:aws:s3:::${s3:delimiter, 'b'}?") && !arns("arn:aws:s3:::${s3:prefix}")
    );
}

#[test]
fn several_values_where_one_is_expected_are_held_against_who_asks() {
    let tags =
        |values: &[&'static str]| values.iter().map(|value| ("s3:ExistingObjectTag/Team", *value)).collect::<Vec<_>>();
    let equals = r#"{"StringEquals":{"s3:ExistingObjectTag/team":["a","b"]}}"#;
    let differs = r#"{"StringNotEquals":{"s3:ExistingObjectTag/team":["a","b"]}}"#;
    for (values, allows, denies, allows_not, denies_not) in [
        (&["a", "b"][..], true, true, false, false),
        (&["a", "c"], false, true, false, true),
        (&["c", "d"], false, false, true, true),
    ] {
        assert_eq!(applies("Allow", equals, &tags(values)), allows, "{values:?}");
        assert_eq!(applies("Deny", equals, &tags(values)), denies, "{values:?}");
        assert_eq!(applies("Allow", differs, &tags(values)), allows_not, "{values:?}");
        assert_eq!(applies("Deny", differs, &tags(values)), denies_not, "{values:?}");
    }
    let exists = r#"{"ForAnyValue:StringEqualsIfExists":{"aws:SourceVpc":"v"}}"#;
    assert!(!applies("Allow", exists, &[]) && applies("Deny", exists, &[]));
}

/// That something is not like what nobody knows denies, and does not allow.
#[test]
fn what_cannot_be_resolved_is_held_against_who_asks() {
    let positive = r#"{"StringEquals":{"aws:Referer":"${s3:prefix}"}}"#;
    let negative = r#"{"StringNotEquals":{"aws:Referer":"${s3:prefix}"}}"#;
    let pairs = [("aws:Referer", "a")];
    assert!(!applies("Allow", positive, &pairs) && !applies("Deny", positive, &pairs));
    assert!(!applies("Allow", negative, &pairs) && applies("Deny", negative, &pairs));
    let not_resource = |effect: &str| {
        let policy = bucket_policy(&format!(
            r#"[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/{}"}},
                {{"Effect":"{effect}","Principal":"*","Action":"s3:GetObject","NotResource":"arn:aws:s3:::bucket/${{aws:username}}/*"}}]"#,
            if effect == "Deny" { "*" } else { "elsewhere" },
        ));
        get(&Identity::anonymous(), Some(&policy))
    };
    assert!(!not_resource("Allow") && !not_resource("Deny"));
}

/// S3's page of examples, the ones that are about requests that can be made here.
#[test]
fn amazon_s_bucket_policies_do_what_is_said_of_them() {
    let may = |policy: &str, who: &Identity, action: &str, key: &str, pairs: &[(&str, &str)]| {
        let resource = format!("arn:aws:s3:::bucket{key}");
        ask(who, Some(&bucket_policy(policy)), action, &resource, &context(pairs)).allowed
    };
    let anybody = Identity::anonymous();
    // Requiring encryption of new objects.
    let encrypted = r#"[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"},
        {"Sid":"RequireSSEC","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*",
         "Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"true"}}}]"#;
    let algorithm = ("s3:x-amz-server-side-encryption-customer-algorithm", "AES256");
    assert!(
        may(encrypted, &anybody, "s3:PutObject", "/k", &[algorithm])
            && !may(encrypted, &anybody, "s3:PutObject", "/k", &[])
    );
    // Requiring a canned ACL: cross-account uploads with bucket-owner-full-control.
    let owner_control = r#"[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*",
        "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}}]"#;
    let acl = |value| [("s3:x-amz-acl", value)];
    assert!(may(owner_control, &root(OTHER), "s3:PutObject", "/k", &acl("bucket-owner-full-control")));
    assert!(!may(owner_control, &root(OTHER), "s3:PutObject", "/k", &acl("private")));
    // Objects with a tag alone are read by everybody.
    let tagged = r#"[{"Principal":"*","Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket/*",
        "Condition":{"StringEquals":{"s3:ExistingObjectTag/environment":"production"}}}]"#;
    let tag = |value| [("s3:ExistingObjectTag/environment", value)];
    assert!(
        may(tagged, &anybody, "s3:GetObject", "/k", &tag("production"))
            && !may(tagged, &anybody, "s3:GetObject", "/k", &tag("test"))
    );
    // Restricting the tags that may be given.
    let keys = r#"[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/JohnDoe"},"Action":["s3:PutObjectTagging","s3:PutObjectVersionTagging"],
        "Resource":["arn:aws:s3:::bucket/*"],"Condition":{"ForAllValues:StringLike":{"s3:RequestObjectTagKeys":["Owner","CreationDate"]}}}]"#;
    let john = user(OWNER, "JohnDoe", &[]);
    let given =
        |names: &[&'static str]| names.iter().map(|name| ("s3:RequestObjectTagKeys", *name)).collect::<Vec<_>>();
    assert!(may(keys, &john, "s3:PutObjectTagging", "/k", &given(&["Owner"])));
    assert!(!may(keys, &john, "s3:PutObjectTagging", "/k", &given(&["Owner", "Other"])));
    // Addresses.
    let addresses = r#"[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]},
        {"Sid":"IPAllow","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"],
         "Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:DB8:1234:5678::/64"]}}}]"#;
    for (address, allowed) in [("192.0.2.7", true), ("2001:db8:1234:5678::9", true), ("198.51.100.1", false)] {
        assert_eq!(may(addresses, &anybody, "s3:GetObject", "/k", &[("aws:SourceIp", address)]), allowed);
    }
    // HTTPS alone.
    let https = r#"[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"},
        {"Sid":"RestrictToTLSRequestsOnly","Action":"s3:*","Effect":"Deny","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"],
         "Condition":{"Bool":{"aws:SecureTransport":"false"}},"Principal":"*"}]"#;
    assert!(may(https, &anybody, "s3:GetObject", "/k", &[("aws:SecureTransport", "true")]));
    assert!(!may(https, &anybody, "s3:GetObject", "/k", &[("aws:SecureTransport", "false")]));
    // A referer.
    let referer = r#"[{"Sid":"Allow only GET requests originating from www.example.com and example.com.","Effect":"Allow","Principal":"*",
        "Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket/*",
        "Condition":{"StringLike":{"aws:Referer":["http://www.example.com/*","http://example.com/*"]}}}]"#;
    assert!(may(referer, &anybody, "s3:GetObject", "/k", &[("aws:Referer", "http://example.com/page")]));
    assert!(!may(referer, &anybody, "s3:GetObject", "/k", &[("aws:Referer", "http://elsewhere.example/")]));
    // A folder for each user.
    let folders = r#"[{"Sid":"AllowListingOfUserFolder","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/JohnDoe"},
        "Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/*"]}}}]"#;
    for (prefix, allowed) in [("", true), ("home/", true), ("home/JohnDoe/a", true), ("home/Jane/a", false)] {
        assert_eq!(may(folders, &john, "s3:ListBucket", "", &[("s3:prefix", prefix)]), allowed, "{prefix}");
    }
    // Multi-factor authentication.
    let factors = r#"[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"},
        {"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/taxdocuments/*",
         "Condition":{"Null":{"aws:MultiFactorAuthAge":true}}}]"#;
    assert!(!may(factors, &anybody, "s3:GetObject", "/taxdocuments/k", &[]));
    assert!(may(factors, &anybody, "s3:GetObject", "/k", &[]));
    assert!(may(factors, &anybody, "s3:GetObject", "/taxdocuments/k", &[("aws:MultiFactorAuthAge", "10")]));
}
