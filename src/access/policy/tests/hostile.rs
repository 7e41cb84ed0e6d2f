//! Documents and requests that are made to cost much. That a test ends is what it shows: each would run for minutes, or overflow the
//! stack, if what it is about took more than linear steps.

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
