//! Documents and requests that are made to cost much. That a test ends is what it shows: each would run for minutes, or overflow the
//! stack, if what it is about took more than linear steps.

use proptest::prelude::*;

use super::*;

fn fails(text: &str) {
    for kind in [PolicyKind::Bucket("bucket"), PolicyKind::Identity, PolicyKind::Trust] {
        assert!(Policy::parse(text, kind).is_err());
    }
}

#[test]
fn documents_are_refused_before_they_cost_anything() {
    for nest in ["[", r#"{"Statement":"#, r#"{"Condition":{"Bool":"#] {
        fails(&nest.repeat(1_000));
        fails(&nest.repeat(20_480 / nest.len()));
        fails(&nest.repeat(10_000_000 / nest.len()));
    }
    let one = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    fails(&format!(r#"{{"Statement":[{}{one}]}}"#, format!("{one},").repeat(100_000)));
    fails(&format!(r#"{{"Statement":"{}"}}"#, "a".repeat(50_000_000)));
    fails(&format!(r#"{{{}"a":1}}"#, r#""a":1,"#.repeat(3_000)));
    fails("\0");
    fails(r#"{"Version":"2012-10-17","Statement":1e999}"#);
}

#[test]
fn as_many_statements_and_values_as_fit_are_read_and_asked() {
    let one = r#"{"Effect":"Deny","Principal":"*","Action":"s3:Put*","Resource":"*"}"#;
    let many = bucket_policy(&format!("[{}{one}]", format!("{one},").repeat(20_000 / one.len() - 1)));
    assert!(!get(&Identity::anonymous(), Some(&many)));
    let actions = format!("[{}\"s3:*\"]", r#""s3:*?*","#.repeat(2_000));
    let many = bucket_policy(&format!(
        r#"[{{"Effect":"Allow","Principal":"*","Action":{actions},"Resource":"arn:aws:s3:::bucket/*"}}]"#
    ));
    assert!(get(&Identity::anonymous(), Some(&many)));
}

#[test]
fn patterns_with_many_stars_match_in_linear_time() {
    let key = "a".repeat(1_000);
    for (pattern, matches) in [
        (format!("{}b", "*a".repeat(900)), false),
        (format!("{}*", "*a".repeat(900)), true),
        (format!("{}*", "*a".repeat(1_001)), false),
        (format!("{}b", "a*".repeat(900)), false),
        ("*".repeat(9_000), true),
        (format!("{}b*", "*?a".repeat(500)), false),
        (format!("*{}b*", "?a".repeat(450)), false),
    ] {
        let policy = bucket_policy(&format!(
            r#"[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/{pattern}"}}]"#
        ));
        let resource = format!("arn:aws:s3:::bucket/{key}");
        let allowed =
            ask(&Identity::anonymous(), Some(&policy), "s3:GetObject", &resource, &Context::default()).allowed;
        assert_eq!(allowed, matches, "{pattern}");
    }
}

#[test]
fn long_values_meet_long_patterns() {
    let long = "a".repeat(128 << 10);
    let may = |value: &str| {
        let policy = bucket_policy(&format!(
            r#"[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{{"StringLike":{{"aws:Referer":"{value}"}}}}}}]"#
        ));
        let context = context(&[("aws:Referer", &long), ("aws:UserAgent", &long)]);
        ask(&Identity::anonymous(), Some(&policy), "s3:GetObject", "arn:aws:s3:::bucket/key", &context).allowed
    };
    assert!(!may(&format!("*{}b*", "a".repeat(19_000))));
    assert!(may(&format!("*{}*", "a".repeat(19_000))));
    assert!(!may(&format!("*{}b*", "?a".repeat(250))));
    // A value that is longer than what it is compared with cannot match it, and is not copied.
    assert!(!may(&"${aws:UserAgent}".repeat(1_000)));
    assert!(may("${aws:UserAgent}") && may("*${aws:UserAgent}*"));
    // What has a `?` in it and is longer than a key can be is looked for in no text.
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*{}*"}}}}"#,
        "?".repeat(1_025)
    );
    assert_eq!(
        Policy::parse(&text, PolicyKind::Bucket("bucket")).unwrap_err().to_string(),
        "Policy has invalid resource"
    );
    assert!(!may(&format!("*?{}*", "${aws:UserAgent}")));
}

#[test]
fn names_of_the_requester_are_no_patterns() {
    let star = user(OWNER, "*", &[]);
    let named = bucket_policy(
        r#"[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/u"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]"#,
    );
    assert!(!get(&star, Some(&named)));
    let like = bucket_policy(
        r#"[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:user/u"}}}]"#,
    );
    assert!(!get(&star, Some(&like)));
    assert!(get(&user(OWNER, "u", &[]), Some(&like)));
}

/// A statement that has everything; `WHO` is who it is about.
const EVERYTHING: &str = r#"{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"s","Effect":"Deny",WHO"NotAction":["s3:G?t*"],
    "NotResource":"arn:aws:s3:::bucket/${aws:username, 'x'}*?","Condition":{"ForAnyValue:StringLikeIfExists":{"s3:prefix":["a*${*}",1.5,true]},
    "DateLessThan":{"aws:CurrentTime":"2026-01-31T12:00:00Z"},"IpAddress":{"aws:SourceIp":"::ffff:192.0.2.0/120"},
    "BinaryEquals":{"s3:prefix":"QQ=="},"NumericEquals":{"s3:max-keys":-1},"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}}]}"#;
const WHO: &str = r#""NotPrincipal":{"AWS":["111122223333","arn:aws:sts::111122223333:assumed-role/r/s"],"Service":"s3.amazonaws.com"},"#;

#[test]
fn everything_is_a_document() {
    assert!(Policy::parse(&EVERYTHING.replace("WHO", WHO), PolicyKind::Bucket("bucket")).is_ok());
    assert!(Policy::parse(&EVERYTHING.replace("WHO", ""), PolicyKind::Identity).is_ok());
}

proptest! {
    #[test]
    fn no_document_and_no_request_is_a_panic(
        of_bucket in any::<bool>(),
        at in 0..1_000_usize,
        len in 0..20_usize,
        with in r#"[\[\]{}",:*?$'/0-9a-z\\ä ]{0,5}"#,
        value in r"[ -~ä\x00]{0,12}",
        key in "[*?ä/a]{0,8}",
    ) {
        let whole = EVERYTHING.replace("WHO", if of_bucket { WHO } else { "" });
        let (at, len) = (at % whole.len(), len.saturating_sub(12));
        let text = format!("{}{with}{}", whole.get(..at).unwrap(), whole.get((at + len).min(whole.len())..).unwrap());
        let pairs = ["s3:prefix", "s3:max-keys", "aws:CurrentTime", "aws:SourceIp", "aws:SourceArn"];
        let context = context(&pairs.map(|key| (key, value.as_str())));
        let kind = if of_bucket { PolicyKind::Bucket("bucket") } else { PolicyKind::Identity };
        if let Ok(policy) = Policy::parse(&text, kind) {
            let who = Identity { boundary: Some(Arc::new(policy.clone())), ..role(OWNER, "r", &[]) };
            ask(&who, Some(&policy), "s3:GetObject", &format!("arn:aws:s3:::bucket/{key}"), &context);
        }
    }
}
