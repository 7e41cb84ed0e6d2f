#![allow(clippy::unwrap_used)]

use super::*;
use crate::access::{RootCredentials, Secret};

/// AWS's own example, "Example: Browser-Based Upload using HTTP POST" in the Amazon S3 API reference.
const POLICY: &str = concat!(
    "{ \"expiration\": \"2015-12-30T12:00:00.000Z\",\r\n",
    "  \"conditions\": [\r\n",
    "    {\"bucket\": \"sigv4examplebucket\"},\r\n",
    "    [\"starts-with\", \"$key\", \"user/user1/\"],\r\n",
    "    {\"acl\": \"public-read\"},\r\n",
    "    {\"success_action_redirect\": \"http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html\"},\r\n",
    "    [\"starts-with\", \"$Content-Type\", \"image/\"],\r\n",
    "    {\"x-amz-meta-uuid\": \"14365123651274\"},\r\n",
    "    {\"x-amz-server-side-encryption\": \"AES256\"},\r\n",
    "    [\"starts-with\", \"$x-amz-meta-tag\", \"\"],\r\n",
    "\r\n",
    "    {\"x-amz-credential\": \"AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request\"},\r\n",
    "    {\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"},\r\n",
    "    {\"x-amz-date\": \"20151229T000000Z\" }\r\n",
    "  ]\r\n",
    "}",
);
const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
/// 2015-12-29T00:00:00Z
const SIGNED_AT: Millis = 1_451_347_200_000;

fn access(version2: bool) -> FormAccess {
    let root = RootCredentials {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    };
    FormAccess { directory: Directory::new(&root, "deployment"), region: "us-east-1".into(), version2 }
}

/// The example's form, with some fields changed, or left out where the value is empty.
fn form(changed: &[(&str, &str)]) -> Fields {
    let policy = BASE64_STANDARD.encode(POLICY);
    let usual = [
        ("key", "user/user1/${filename}"),
        ("acl", "public-read"),
        ("success_action_redirect", "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"),
        ("Content-Type", "image/jpeg"),
        ("x-amz-meta-uuid", "14365123651274"),
        ("x-amz-server-side-encryption", "AES256"),
        ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Date", "20151229T000000Z"),
        ("x-amz-meta-tag", "none"),
        ("Policy", policy.as_str()),
        ("X-Amz-Signature", SIGNATURE),
    ];
    let mut fields = Fields::default();
    for (name, value) in usual {
        let value = changed.iter().find(|(of, _)| *of == name).map_or(value, |(_, value)| *value);
        if !value.is_empty() {
            fields.add(name, value);
        }
    }
    for (name, value) in changed.iter().filter(|(name, _)| usual.iter().all(|(known, _)| known != name)) {
        fields.add(name, value);
    }
    fields
}

fn refused(changed: &[(&str, &str)]) -> FormError {
    access(false).verify(SIGNED_AT, &form(changed)).unwrap_err()
}

#[test]
fn the_documented_example_is_let_through() {
    let mut fields = form(&[]);
    let (identity, policy) = access(false).verify(SIGNED_AT, &fields).unwrap();
    let policy = policy.unwrap();
    assert_eq!(&*identity.access_key, "AKIAIOSFODNN7EXAMPLE");
    fields.name_the_file(Some("C:\\Program Files\\directory1\\file.txt"));
    assert_eq!(fields.get("key"), Some("user/user1/file.txt"));
    assert_eq!(policy.check(SIGNED_AT, "sigv4examplebucket", &fields), Ok(0..=u64::MAX));
    assert!(policy.check(SIGNED_AT, "another", &fields).is_err());
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let other = BASE64_STANDARD.encode(POLICY.replace("user1", "user2"));
    for changed in [
        [("Policy", other.as_str())],
        [("X-Amz-Signature", &SIGNATURE.replace('8', "9"))],
        [("X-Amz-Signature", &SIGNATURE[..62])],
        [("X-Amz-Signature", "no hexadecimal")],
    ] {
        let error = refused(&changed);
        assert_eq!((error.code(), error.status().as_u16()), ("SignatureDoesNotMatch", 403), "{changed:?}");
    }
    // The signature is looked at before the document.
    assert_eq!(refused(&[("Policy", "no base64!")]).code(), "SignatureDoesNotMatch");
    let stranger = refused(&[("X-Amz-Credential", "AKIDOTHER/20151229/us-east-1/s3/aws4_request")]);
    assert_eq!(stranger, FormError::Key(KeyError::Unknown, "AKIDOTHER".into()));
}

#[test]
fn the_scope_is_checked() {
    for (credential, reason) in [
        ("AKIAIOSFODNN7EXAMPLE", "the Credential is mal-formed"),
        ("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3", "the Credential is mal-formed"),
        ("/20151229/us-east-1/s3/aws4_request", "a non-empty Access Key"),
        ("AKIAIOSFODNN7EXAMPLE/20151230/us-east-1/s3/aws4_request", "incorrect date"),
        ("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/sts/aws4_request", "incorrect service"),
        (
            "AKIAIOSFODNN7EXAMPLE/20151229/eu-west-1/s3/aws4_request",
            "the region 'eu-west-1' is wrong; expecting 'us-east-1'",
        ),
    ] {
        let error = refused(&[("X-Amz-Credential", credential)]);
        assert_eq!(error.code(), "InvalidArgument", "{credential}");
        assert!(error.to_string().starts_with(reason), "{credential}: {error}");
        assert_eq!(error.details()[1], ("ArgumentValue", credential.to_owned()));
    }
    assert_eq!(refused(&[("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256")]).code(), "InvalidArgument");
    for date in ["20151229", "2015-12-29T00:00:00Z", "20151329T000000Z"] {
        assert!(refused(&[("X-Amz-Date", date)]).to_string().contains("ISO8601"), "{date}");
    }
    let late = access(false).verify(SIGNED_AT + MAX_EXPIRES * 1000 + 1, &form(&[]));
    assert_eq!(late.unwrap_err(), FormError::Expired);
}

#[test]
fn what_is_missing_is_named() {
    for name in ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "Policy"] {
        assert_eq!(refused(&[(name, "")]), FormError::Missing(name));
    }
    let nobody =
        form(&[("X-Amz-Algorithm", ""), ("X-Amz-Credential", ""), ("X-Amz-Date", ""), ("X-Amz-Signature", "")]);
    assert_eq!(access(false).verify(SIGNED_AT, &nobody).unwrap_err(), FormError::Unsigned);
    assert_eq!(
        refused(&[("x-amz-security-token", "token")]),
        FormError::Key(KeyError::Token, "AKIAIOSFODNN7EXAMPLE".into())
    );
}

#[test]
fn version_2_counts_only_where_it_is_allowed() {
    // HMAC-SHA1 of "eyJhIjoxfQ==" with the example's key, by openssl.
    let with = |signature: &str, policy: &str| {
        let mut fields = Fields::default();
        for (name, value) in [("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE"), ("signature", signature), ("policy", policy)]
        {
            fields.add(name, value);
        }
        fields
    };
    let good = with("0x1e/mguux7FcW60ms9P29wyA7w=", "eyJhIjoxfQ==");
    assert_eq!(access(false).verify(0, &good).unwrap_err(), FormError::Mechanism(ClaimError::Version2));
    // It is let through as far as its policy, which is none.
    let error = access(true).verify(0, &good).unwrap_err();
    assert_eq!(error, FormError::Policy(PolicyError::Document("Unexpected: 'a'".into())));
    let changed = with("0x1e/mguux7FcW60ms9P29wyA7w=", "eyJhIjoyfQ==");
    assert_eq!(access(true).verify(0, &changed).unwrap_err().code(), "SignatureDoesNotMatch");
    let error = access(true).verify(SIGNED_AT, &form(&[("signature", "x")])).unwrap_err();
    assert_eq!(error, FormError::Mechanism(ClaimError::SeveralMechanisms));
}

#[test]
fn fields_of_one_name_are_one_and_the_file_s_name_goes_everywhere() {
    let mut fields = Fields::default();
    for (name, value) in
        [("x-amz-meta-tag", "Ninja"), ("X-Amz-Meta-Tag", "Stallman"), ("key", "${filename}/${filename}")]
    {
        fields.add(name, value);
    }
    fields.add("policy", "${filename}");
    assert_eq!(fields.get("x-amz-meta-tag"), Some("Ninja,Stallman"));
    let named = |name: Option<&str>| {
        let mut fields = fields.clone();
        fields.name_the_file(name);
        (fields.get("key").unwrap().to_owned(), fields.get("policy").unwrap().to_owned())
    };
    let policy = "${filename}".to_owned();
    assert_eq!(named(Some("a/b.txt")), ("b.txt/b.txt".into(), policy.clone()));
    assert_eq!(named(Some("")), ("/".into(), policy.clone()));
    assert_eq!(named(None), ("${filename}/${filename}".into(), policy));
}
