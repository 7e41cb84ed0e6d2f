//! AWS's page "Blocking public access to your Amazon S3 storage", the meaning of public.

use super::*;

fn is_public(principal: &str, condition: &str) -> bool {
    bucket_policy(&format!(
        r#"[{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{condition}}}]"#
    ))
    .is_public()
}

#[test]
fn everybody_is_public_and_who_is_named_is_not() {
    assert!(is_public(r#""*""#, "{}"));
    assert!(is_public(r#"{"AWS":["111122223333","*"]}"#, "{}"));
    for principal in [
        r#"{"AWS":"111122223333"}"#,
        r#"{"AWS":"arn:aws:iam::444455556666:user/u"}"#,
        r#"{"Service":"s3.amazonaws.com"}"#,
    ] {
        assert!(!is_public(principal, "{}"), "{principal}");
    }
}

#[test]
fn fixed_values_of_what_strangers_cannot_choose_are_not_public() {
    for (condition, public) in [
        (r#"{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, false),
        (r#"{"StringLike":{"aws:SourceVpc":"vpc-*"}}"#, true),
        (r#"{"StringLike":{"aws:SourceVpc":["vpc-1","vpc-*"]}}"#, true),
        (r#"{"StringEquals":{"aws:SourceVpc":"${aws:PrincipalTag/vpc}"}}"#, true),
        (r#"{"StringNotEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, true),
        (r#"{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-91237329"}}"#, true),
        (r#"{"ForAllValues:StringEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, true),
        (r#"{"ForAnyValue:StringEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, false),
        (r#"{"StringEquals":{"aws:PrincipalOrgID":"o-12345"}}"#, false),
        (r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/r"}}"#, true),
        (r#"{"StringEquals":{"aws:userid":"AIDAEXAMPLE"}}"#, false),
        (r#"{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}"#, true),
        (r#"{"StringEquals":{"aws:userid":"AROAEXAMPLE:s"}}"#, true),
        (r#"{"StringEquals":{"aws:userid":"anonymous"}}"#, true),
        (r#"{"StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"key"}}"#, true),
        (r#"{"StringLike":{"aws:Referer":"http://www.example.com/*"}}"#, true),
        (r#"{"StringEquals":{"aws:UserAgent":"fixed"}}"#, true),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/32"}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/0"]}}"#, true),
        (r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}"#, true),
        (r#"{"IpAddress":{"aws:SourceIp":"2000::/16"}}"#, true),
        (r#"{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#, true),
        (r#"{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:123456789012:accesspoint/*"}}"#, false),
        (r#"{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:*:accesspoint/a"}}"#, true),
        (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, true),
        (r#"{"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:SourceAccount":"111122223333"}}"#, false),
    ] {
        assert_eq!(is_public(r#""*""#, condition), public, "{condition}");
    }
}

/// AWS's own example: one statement is public, so the policy is, whatever the others are.
#[test]
fn one_public_statement_is_enough_and_denials_do_not_help() {
    let vpc = r#"{"Principal":"*","Resource":"arn:aws:s3:::bucket/*","Action":"s3:PutObject","Effect":"Allow","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}}"#;
    let open = r#"{"Principal":"*","Resource":"arn:aws:s3:::bucket/*","Action":"s3:PutObject","Effect":"Allow","Condition":{"StringLike":{"aws:SourceVpc":"vpc-*"}}}"#;
    let deny = r#"{"Principal":"*","Resource":"arn:aws:s3:::bucket/*","Action":"s3:*","Effect":"Deny"}"#;
    assert!(!bucket_policy(&format!("[{vpc},{deny}]")).is_public());
    assert!(bucket_policy(&format!("[{vpc},{open},{deny}]")).is_public());
    assert!(!identity_policy(ALLOW_ALL).is_public());
}
