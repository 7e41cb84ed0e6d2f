//! What is a document, and what is wrong with one that is none.

use super::*;

fn bucket_error(text: &str) -> String {
    Policy::parse(text, PolicyKind::Bucket("bucket")).unwrap_err().to_string()
}

fn error(text: &str, kind: PolicyKind<'_>) -> String {
    Policy::parse(text, kind).unwrap_err().to_string()
}

/// A statement of `bucket`'s policy in which these elements are others; without a value they are left out.
fn statement(changes: &[(&str, &str)]) -> String {
    let plain = [
        ("Effect", r#""Allow""#),
        ("Principal", r#""*""#),
        ("Action", r#""s3:GetObject""#),
        ("Resource", r#""arn:aws:s3:::bucket/*""#),
    ];
    let mut members: Vec<(&str, &str)> =
        plain.into_iter().filter(|(name, _)| !changes.iter().any(|(own, _)| own == name)).collect();
    members.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn with(changes: &[(&str, &str)]) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statement(changes))
}

#[test]
fn one_statement_needs_no_list_and_a_version_no_name() {
    let one = statement(&[("Sid", r#""Allow Public Access to All Objects""#)]);
    for text in [
        format!(r#"{{"Statement":{one}}}"#),
        format!(r#"{{"Version":"2008-10-17","Id":"an id","Statement":[{one}]}}"#),
        format!(r#"{{"Version":"2012-10-17","Statement":[{one},{one}]}}"#),
    ] {
        assert!(
            get(&Identity::anonymous(), Some(&Policy::parse(&text, PolicyKind::Bucket("bucket")).unwrap())),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_json_or_no_policy_is_told() {
    for text in ["", "[]", "null", "\"\"", " {}", "\u{feff}{}", "false", r#""Statement": []}"#] {
        assert_eq!(bucket_error(text), "Policies must be valid JSON and the first byte must be '{'", "{text}");
    }
    for text in ["{", "{}}", "{true}", r#"{"Version":}"#, r#"{"Principal": "*" "#] {
        assert_eq!(bucket_error(text), "This policy contains invalid Json", "{text}");
    }
    assert_eq!(bucket_error("{}"), "Missing required field Statement");
    assert_eq!(bucket_error(r#"{"Statement":[]}"#), "Could not parse the policy: Statement is empty!");
    assert_eq!(
        bucket_error(r#"{"Version":"2012-10-18","Statement":[]}"#),
        "The policy must contain a valid version string"
    );
    assert_eq!(bucket_error(r#"{"Statement":["x"]}"#), "Statement must be an object");
    assert_eq!(bucket_error(r#"{"Statements":[]}"#), "Unknown field Statements");
    assert_eq!(bucket_error(r#"{"statement":[]}"#), "Unknown field statement");
    assert_eq!(bucket_error(r#"{"Statement":[],"Statement":[]}"#), "Duplicate field Statement");
}

#[test]
fn a_statement_of_a_bucket_is_checked_element_by_element() {
    let principal = "Invalid principal in policy";
    let resource = "Policy has invalid resource";
    for (changes, message) in [
        (&[("Effect", "")][..], "Missing required field Effect"),
        (&[("Effect", r#""allow""#)], "Invalid effect: allow"),
        (&[("Effect", "true")], "Effect must be a string"),
        (&[("Sid", "1")], "Sid must be a string"),
        (&[("Other", "1")], "Unknown field Other"),
        (&[("action", r#""s3:*""#)], "Unknown field action"),
        (&[("Principal", "")], "Missing required field Principal"),
        (&[("NotPrincipal", r#""*""#)], "NotPrincipal and Principal cannot be in the same statement"),
        (&[("Principal", ""), ("NotPrincipal", r#""*""#)], "Allow with NotPrincipal is not allowed."),
        (&[("Principal", r#""arn:aws:iam::111122223333:root""#)], principal),
        (&[("Principal", r#"["*"]"#)], principal),
        (&[("Principal", "{}")], principal),
        (&[("Principal", r#"{"AWS":[]}"#)], principal),
        (&[("Principal", r#"{"AWS":"1","AWS":"*"}"#)], "Duplicate field AWS"),
        (&[("Principal", r#"{"aws":"*"}"#)], principal),
        (&[("Principal", r#"{"AWS":"alice"}"#)], principal),
        (&[("Principal", r#"{"AWS":"11112222333"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws:iam::111122223333:user/*"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws:iam::*:root"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws-cn:iam::111122223333:root"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws:iam::111122223333:group/g"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws:iam::111122223333:user/"}"#)], principal),
        (&[("Principal", r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/r"}"#)], principal),
        (&[("Principal", r#"{"CanonicalUser":"abc"}"#)], principal),
        (&[("Principal", r#"{"Service":"*"}"#)], principal),
        (&[("Principal", r#"{"Service":"logging.s3.amazonaws.comkaboom"}"#)], principal),
        (&[("Action", "")], "Missing required field Action"),
        (&[("Action", "[]")], "Policy has invalid action"),
        (&[("Action", "{}")], "Policy has invalid action"),
        (&[("Action", r#""GetObject""#)], "Policy has invalid action"),
        (&[("Action", r#""s3:GetObjects""#)], "Policy has invalid action"),
        (&[("Action", r#""s3:""#)], "Policy has invalid action"),
        (&[("Action", r#"["s3:Abort?"]"#)], "Policy has invalid action"),
        (&[("Action", r#""*GetObject""#)], "Policy has invalid action"),
        (&[("Resource", "[]")], resource),
        (&[("Resource", r#""""#)], resource),
        (&[("Action", r#""iam:GetUser""#)], "Policy has invalid action"),
        (&[("NotAction", r#""s3:PutObject""#)], "NotAction and Action cannot be in the same statement"),
        (&[("Resource", "")], "Missing required field Resource"),
        (&[("NotResource", r#""*""#)], "NotResource and Resource cannot be in the same statement"),
        (&[("Resource", r#""bucket/*""#)], resource),
        (&[("Resource", r#""arn:aws:s3:::another/*""#)], resource),
        (&[("Resource", r#"["arn:aws:s3:::bucket/*","arn:aws:s3:::bucket2/*"]"#)], resource),
        (&[("Resource", r#""arn:aws:s3:::bucke?t*""#)], resource),
        (&[("Resource", r#""arn:aws-cn:s3:::bucket/*""#)], resource),
        (&[("Resource", r#""arn:aws:s3:::bucket/${aws:username""#)], resource),
        (&[("Resource", r#""arn:aws:s3:::bucket""#)], "Action does not apply to any resource(s) in statement"),
        (&[("Action", r#"["s3:GetObject","s3:ListBucket"]"#)], "Action does not apply to any resource(s) in statement"),
        (&[("Action", r#""s3:ListAllMyBuckets""#)], "Action does not apply to any resource(s) in statement"),
        (&[("Condition", "[]")], "Condition must be an object"),
        (&[("Condition", r#"{"StringEqual":{"s3:prefix":"a"}}"#)], "Invalid Condition type : StringEqual"),
        (&[("Condition", r#"{"stringequals":{"s3:prefix":"a"}}"#)], "Invalid Condition type : stringequals"),
        (&[("Condition", r#"{"NullIfExists":{"s3:prefix":"true"}}"#)], "Invalid Condition type : NullIfExists"),
        (
            &[("Condition", r#"{"ForSomeValues:StringLike":{"s3:prefix":"a"}}"#)],
            "Invalid Condition type : ForSomeValues:StringLike",
        ),
        (&[("Condition", r#"{"StringEquals":{}}"#)], "Condition StringEquals cannot be empty!"),
        (&[("Condition", r#"{"StringEquals":{"s3:prefix":[]}}"#)], "Condition key s3:prefix cannot be empty!"),
        (&[("Condition", r#"{"StringEquals":{"s3:prefix":{}}}"#)], "Invalid value of condition key s3:prefix"),
        (&[("Condition", r#"{"StringEquals":{"s3:prefix":"a","S3:Prefix":"b"}}"#)], "Duplicate field S3:Prefix"),
        (&[("Condition", r#"{"StringEquals":{"s3:prefixes":"a"}}"#)], "Policy has an invalid condition key"),
        (&[("Condition", r#"{"StringEquals":{"aws:SourcIp":"a"}}"#)], "Policy has an invalid condition key"),
        (&[("Condition", r#"{"StringEquals":{"s3:ExistingObjectTag/":"a"}}"#)], "Policy has an invalid condition key"),
        (
            &[("Condition", r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#)],
            "Invalid value \"10.0.0.0/33\" of condition key aws:SourceIp for IpAddress",
        ),
        (
            &[("Condition", r#"{"NumericEquals":{"s3:max-keys":"ten"}}"#)],
            "Invalid value \"ten\" of condition key s3:max-keys for NumericEquals",
        ),
        (
            &[("Condition", r#"{"Bool":{"aws:SecureTransport":"yes"}}"#)],
            "Invalid value \"yes\" of condition key aws:SecureTransport for Bool",
        ),
    ] {
        assert_eq!(bucket_error(&with(changes)), message, "{changes:?}");
    }
}

#[test]
fn a_statement_of_a_bucket_may_say_the_same_in_many_ways() {
    for changes in [
        &[("Principal", r#"{"AWS":["111122223333","arn:aws:iam::444455556666:root"],"Service":"s3.amazonaws.com"}"#)][..],
        &[("Principal", r#"{"Federated":"arn:aws:iam::111122223333:saml-provider/p"}"#)],
        &[("Principal", ""), ("NotPrincipal", r#"{"AWS":"111122223333"}"#), ("Effect", r#""Deny""#)],
        &[("Action", r#""*""#)],
        &[("Action", r#""S3:getOBJECT""#)],
        &[("Action", r#"["s3:Get*","s3:List*"]"#), ("Resource", r#"["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]"#)],
        &[("Action", r#"["s3:ListBucket","s3:GetObject"]"#), ("Resource", r#""arn:aws:s3:::bucket*""#)],
        &[("Action", r#"["s3:ListBucket","s3:GetObject"]"#), ("Resource", r#""arn:aws:s3:::*""#)],
        &[("Action", r#""s3:ListBucket""#), ("Resource", r#""arn:aws:s3:::buck?t""#)],
        &[("Resource", r#""*""#)],
        &[("Action", ""), ("NotAction", r#""s3:ListBucket""#)],
        &[("Resource", ""), ("NotResource", r#""arn:aws:s3:::bucket/secret/*""#)],
        &[("Condition", "{}")],
        &[("Condition", r#"{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"s3:max-keys":10}}"#)],
        &[("Condition", r#"{"StringLike":{"s3:RequestObjectTag/a":["b","c"]}}"#)],
    ] {
        let text = with(changes);
        assert!(Policy::parse(&text, PolicyKind::Bucket("bucket")).is_ok(), "{text}");
    }
}

#[test]
fn policies_of_identities_have_iam_s_rules() {
    let identity = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    let fails = |statement: &str| error(&identity(statement), PolicyKind::Identity);
    let plain = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#;
    assert_eq!(fails(&format!(r#"{{{plain},"Principal":"*"}}"#)), "Policy document should not specify a principal.");
    assert_eq!(
        fails(&format!(r#"{{{plain},"Sid":"not a word"}}"#)),
        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
    );
    assert_eq!(
        fails(&format!(r#"[{{{plain},"Sid":"A"}},{{{plain},"Sid":"A"}}]"#)),
        "Statement IDs (SID) in a single policy must be unique."
    );
    let resource =
        |resource: &str| fails(&format!(r#"{{"Effect":"Allow","Action":"s3:GetObject","Resource":"{resource}"}}"#));
    assert_eq!(resource("bucket"), "Resource bucket must be in ARN format or \"*\".");
    assert_eq!(resource("arn:aws:s*:::bucket"), "Resource arn:aws:s*:::bucket must be in ARN format or \"*\".");
    assert_eq!(resource("arn:aws-cn:s3:::b"), "Partition \"aws-cn\" is not valid for resource \"arn:aws-cn:s3:::b\".");
    let vendor = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
    assert_eq!(fails(r#"{"Effect":"Allow","Action":"GetObject","Resource":"*"}"#), vendor);
    assert_eq!(fails(&format!(r#"{{{plain},"Condition":{{"Bool":{{"x":"true"}}}}}}"#)), vendor);
    assert_eq!(fails(r#"{"Effect":"Allow","Resource":"*"}"#), "Policy statement must contain actions.");
    for action in
        [r#""Action":"s3:*""#, r#""Action":["admin:*","s3:*"]"#, r#""Action":"*""#, r#""NotAction":"admin:*""#]
    {
        assert_eq!(fails(&format!(r#"{{"Effect":"Allow",{action}}}"#)), "Policy statement must contain resources.");
    }
    assert_eq!(error("[]", PolicyKind::Identity), "Syntax errors in policy.");
    for statement in [
        r#"{"Effect":"Allow","Action":"admin:*"}"#,
        r#"{"Effect":"Allow","Action":["ninefold:Get*","ninefold:ListVolumes"]}"#,
        r#"{"Effect":"Allow","Action":["s3:Whatever","iam:*"],"Resource":["arn:aws:s3:::*","arn:aws:iam::111122223333:user/x"]}"#,
        r#"{"Effect":"Allow","NotAction":"s3:*","NotResource":"arn:*:s3:::b"}"#,
        &format!(r#"{{{plain},"Condition":{{"StringEquals":{{"ldap:username":"x"}}}}}}"#),
        &format!(r#"[{{{plain},"Sid":""}},{{{plain}}}]"#),
    ] {
        let parsed = Policy::parse(&format!(" {}\n", identity(statement)), PolicyKind::Identity);
        assert!(parsed.is_ok(), "{statement}: {parsed:?}");
    }
}

#[test]
fn trust_names_who_and_no_resource() {
    let trust = |members: &str| format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{members}}}}}"#);
    let fails = |members: &str| error(&trust(members), PolicyKind::Trust);
    assert_eq!(fails(r#""Action":"sts:AssumeRole""#), "Missing required field Principal");
    let who = r#""Principal":{"AWS":"111122223333"}"#;
    let only = "AssumeRole policy may only specify STS AssumeRole actions.";
    assert_eq!(fails(&format!(r#"{who},"Action":"s3:GetObject""#)), only);
    assert_eq!(fails(&format!(r#"{who},"Action":"*""#)), only);
    assert_eq!(fails(&format!(r#"{who},"NotAction":"sts:AssumeRole""#)), only);
    assert_eq!(fails(&format!(r#"{who},"Action":"sts:AssumeRole","Resource":"*""#)), "Has prohibited field Resource");
    let all_but = r#""NotPrincipal":{"AWS":"111122223333"},"Action":"sts:AssumeRole""#;
    assert_eq!(fails(all_but), "Has prohibited field NotPrincipal");
    let federated = r#""Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com"}"#;
    for members in [who, r#""Principal":"*""#, federated] {
        let text = trust(&format!(r#"{members},"Action":["sts:AssumeRole","sts:TagSession"]"#));
        assert!(Policy::parse(&text, PolicyKind::Trust).is_ok(), "{text}");
    }
}

#[test]
fn sizes_are_limited() {
    let long = |length: usize| with(&[("Sid", &format!("\"{}\"", "a".repeat(length)))]);
    let overhead = long(0).len();
    assert!(Policy::parse(&long(20_480 - overhead), PolicyKind::Bucket("bucket")).is_ok());
    assert_eq!(bucket_error(&long(20_481 - overhead)), "Policy exceeds the maximum allowed document size.");
    let identity = |padding: &str| {
        format!(r#"{{"Statement":{{"Sid":"{padding}","Effect":"Allow","Action":"s3:*","Resource":"*"}}}}"#)
    };
    let overhead = identity("").len();
    assert!(Policy::parse(&identity(&"a".repeat(10_240 - overhead)), PolicyKind::Identity).is_ok());
    assert!(
        Policy::parse(&(identity("") + &" ".repeat(20_000)), PolicyKind::Identity).is_ok(),
        "white space does not count"
    );
    assert_eq!(
        error(&identity(&"a".repeat(10_241 - overhead)), PolicyKind::Identity),
        "Maximum policy size of 10240 bytes exceeded"
    );
    assert!(Policy::parse(&(identity("") + &" ".repeat(140_000)), PolicyKind::Identity).is_err());
}

#[test]
fn mentioned_keys_are_those_of_conditions_and_variables() {
    let policy = bucket_policy(&statement(&[
        ("Resource", r#""arn:aws:s3:::bucket/${aws:PrincipalTag/Team}/*""#),
        ("Condition", r#"{"StringEquals":{"s3:ExistingObjectTag/a":"${s3:VersionId, 'none'}"}}"#),
    ]));
    for key in ["s3:existingobjecttag/", "aws:principaltag/team", "s3:versionid", "s3:"] {
        assert!(policy.mentions(key), "{key}");
    }
    assert!(!policy.mentions("s3:requestobjecttag/") && !policy.mentions("aws:sourceip"));
}
