//! The policy document of a form: until when it is valid, and what the form's fields and file must be.
//!
//! Source: "POST Policy" in the Amazon S3 API reference (`sigv4-HTTPPOSTConstructPolicy`). It says neither how S3 words its errors nor that a
//! condition which does not hold is a 403; that is as S3's answers are quoted in public.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde_json::Value;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::Fields;
use crate::clock::Millis;

/// Why a form is not what its policy allows, or why the policy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The document is not one: `InvalidPolicyDocument`.
    #[error("Invalid Policy: {0}")]
    Document(String),
    /// Its time is over.
    #[error("Invalid according to Policy: Policy expired.")]
    Expired,
    /// A condition does not hold.
    #[error("Invalid according to Policy: Policy Condition failed: {0}")]
    Condition(String),
    /// No condition is about this field, so its value is nobody's wish but the sender's.
    #[error("Invalid according to Policy: Extra input fields: {0}")]
    Extra(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    StartsWith,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// `name` is as the document has it, with the `$`.
    Field { test: Test, name: String, value: String },
    /// The file's length; `None` if the bounds are texts that are no numbers, which nothing satisfies.
    Length { bounds: Option<(u64, u64)>, shown: String },
}

/// A policy document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    expiration: Millis,
    conditions: Vec<Condition>,
}

fn document(problem: impl Into<String>) -> PolicyError {
    PolicyError::Document(problem.into())
}

fn not_json() -> PolicyError {
    document("Invalid JSON.")
}

impl Policy {
    /// Reads a document. Member names are exact, operators in any case.
    ///
    /// # Errors
    /// [`PolicyError::Document`] says what is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        if json.trim_ascii().is_empty() {
            return Err(document("Expecting '{' but found End-of-Input"));
        }
        let Ok(Value::Object(mut members)) = serde_json::from_slice(&plain_escapes(json)) else {
            return Err(not_json());
        };
        let (expiration, conditions) = (members.remove("expiration"), members.remove("conditions"));
        if let Some(name) = members.keys().next() {
            return Err(document(format!("Unexpected: '{}'", name.to_lowercase())));
        }
        let expiration = match expiration {
            None => return Err(document("Policy missing expiration.")),
            Some(Value::String(text)) => {
                instant(&text).ok_or_else(|| document(format!("Invalid 'expiration' value: '{text}'")))?
            }
            Some(other) => return Err(document(format!("Invalid 'expiration' value: '{other}'"))),
        };
        let conditions = match conditions {
            None => return Err(document("Policy missing conditions.")),
            Some(Value::Array(list)) => list.into_iter().map(Condition::parse).collect::<Result<_, _>>()?,
            Some(_) => return Err(document("Invalid 'conditions' value: must be a List.")),
        };
        Ok(Self { expiration, conditions })
    }

    /// Holds a form, posted to `bucket` at `now`, to the policy; answers how long its file may be. What is not said of the length is all
    /// lengths.
    ///
    /// # Errors
    /// [`PolicyError::Expired`]; the first condition that does not hold; the first field that no condition is about.
    pub fn check(&self, now: Millis, bucket: &str, fields: &Fields) -> Result<RangeInclusive<u64>, PolicyError> {
        if now >= self.expiration {
            return Err(PolicyError::Expired);
        }
        let (mut least, mut most) = (0, u64::MAX);
        for condition in &self.conditions {
            match condition {
                Condition::Field { test, name, value } => {
                    let bare = name.strip_prefix('$').map(str::to_lowercase);
                    // The bucket is where the form was sent, whatever a field of that name says.
                    let sent =
                        bare.as_deref().and_then(|name| if name == "bucket" { Some(bucket) } else { fields.get(name) });
                    let list = bare.as_deref() == Some("content-type");
                    if !sent.is_some_and(|sent| test.holds(sent, value, list)) {
                        return Err(PolicyError::Condition(condition.to_string()));
                    }
                }
                Condition::Length { bounds: Some((from, to)), .. } => (least, most) = (least.max(*from), most.min(*to)),
                Condition::Length { bounds: None, shown } => return Err(PolicyError::Condition(shown.clone())),
            }
        }
        let covered = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Field { name: of, .. } => of.strip_prefix('$').is_some_and(|of| of.to_lowercase() == name),
                Condition::Length { .. } => false,
            })
        };
        if !covered("bucket") {
            return Err(PolicyError::Extra("bucket".to_owned()));
        }
        let free = |name: &str| EXEMPT.contains(&name) || name.starts_with("x-ignore-");
        match fields.iter().find(|field| !free(&field.name) && !covered(&field.name)) {
            Some(field) => Err(PolicyError::Extra(field.sent_name.clone())),
            None => Ok(least..=most),
        }
    }
}

/// Fields that need no condition. The two of signature version 2 are said where it is described, "HTML Forms".
const EXEMPT: [&str; 5] = ["awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"];

impl Test {
    /// `list`: the sent text may be several values with commas between, all of which must begin so.
    fn holds(self, sent: &str, value: &str, list: bool) -> bool {
        match self {
            Self::Equal => sent == value,
            Self::StartsWith if list => sent.split(',').all(|each| each.trim_start().starts_with(value)),
            Self::StartsWith => sent.starts_with(value),
        }
    }
}

impl Condition {
    fn parse(json: Value) -> Result<Self, PolicyError> {
        match json {
            Value::Object(members) => {
                let mut members = members.into_iter();
                let (Some((name, value)), None) = (members.next(), members.next()) else {
                    return Err(document(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                    ));
                };
                let Value::String(value) = value else {
                    return Err(document("Invalid Simple-Condition: value must be a string."));
                };
                Ok(Self::Field { test: Test::Equal, name: format!("${name}"), value })
            }
            Value::Array(items) => Self::parse_list(&items),
            _ => Err(document("Invalid condition test: must be a List or Object.")),
        }
    }

    fn parse_list(items: &[Value]) -> Result<Self, PolicyError> {
        let Some((Value::String(operator), operands)) = items.split_first() else {
            return Err(document("Invalid Condition: missing operation identifier."));
        };
        let test = match operator.to_ascii_lowercase().as_str() {
            "eq" => Some(Test::Equal),
            "starts-with" => Some(Test::StartsWith),
            "content-length-range" => None,
            _ => return Err(document(format!("Invalid Condition: unknown operation '{operator}'."))),
        };
        let [first, second] = operands else {
            return Err(document(format!("Invalid {operator}: wrong number of arguments.")));
        };
        let Some(test) = test else {
            let (Some(from), Some(to)) = (bound(first), bound(second)) else { return Err(not_json()) };
            let shown = Value::Array(items.to_vec());
            return Ok(Self::Length { bounds: from.zip(to), shown: spaced(&shown) });
        };
        let (Value::String(name), Value::String(value)) = (first, second) else { return Err(not_json()) };
        Ok(Self::Field { test, name: name.clone(), value: value.clone() })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field { test, name, value } => {
                let test = match test {
                    Test::Equal => "eq",
                    Test::StartsWith => "starts-with",
                };
                f.write_str(&spaced(&serde_json::json!([test, name, value])))
            }
            Self::Length { shown, .. } => f.write_str(shown),
        }
    }
}

/// One end of a range, a number or a text that should be one; `None` is neither, `Some(None)` a text that is no number.
fn bound(json: &Value) -> Option<Option<u64>> {
    match json {
        Value::Number(number) => number.as_u64().map(Some),
        Value::String(text) => Some(text.parse().ok()),
        _ => None,
    }
}

/// A list as S3 shows it in its messages: a blank behind each comma.
fn spaced(list: &Value) -> String {
    let mut text = String::from("[");
    for (i, item) in list.as_array().into_iter().flatten().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{item}", if i == 0 { "" } else { ", " });
    }
    text + "]"
}

/// `2007-12-01T12:00:00.000Z`, with or without the fraction; no other zone, no other form.
fn instant(text: &str) -> Option<Millis> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let millis = match fraction {
        None => 0,
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}").get(..3)?.parse::<Millis>().ok()?
        }
        Some(_) => return None,
    };
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let at = PrimitiveDateTime::parse(whole, format).ok()?;
    at.assume_utc().unix_timestamp().checked_mul(1000)?.checked_add(millis)
}

/// The document with the two escapes that S3's policies have and JSON has not, `\$` and `\v`, in JSON's own form.
fn plain_escapes(json: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(json.len());
    let mut bytes = json.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (_, Some(b'$')) => plain.push(b'$'),
            (_, Some(b'v')) => plain.extend_from_slice(b"\\u000b"),
            (_, Some(other)) => plain.extend_from_slice(&[byte, other]),
            (_, None) => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Millis = 1_700_000_000_000; // 2023-11-14T22:13:20Z
    const LATER: &str = "2023-11-14T22:13:20.001Z";

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, value);
        }
        fields
    }

    fn policy(conditions: &str) -> Policy {
        Policy::parse(format!("{{\"expiration\": \"{LATER}\", \"conditions\": {conditions}}}").as_bytes()).unwrap()
    }

    /// What comes of a form with these fields, under these conditions and `{"bucket": "bkt"}`.
    fn check(conditions: &str, pairs: &[(&str, &str)]) -> Result<RangeInclusive<u64>, String> {
        let comma = if conditions.is_empty() { "" } else { ", " };
        let policy = policy(&format!("[{{\"bucket\": \"bkt\"}}{comma}{conditions}]"));
        policy.check(NOW, "bkt", &fields(pairs)).map_err(|error| error.to_string())
    }

    fn bad(json: &str) -> String {
        match Policy::parse(json.as_bytes()) {
            Err(PolicyError::Document(problem)) => problem,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_document_is_said() {
        let of = |conditions: &str| bad(&format!("{{\"expiration\": \"{LATER}\", \"conditions\": {conditions}}}"));
        for (problem, wanted) in [
            (bad(""), "Expecting '{' but found End-of-Input"),
            (bad("{"), "Invalid JSON."),
            (bad("[]"), "Invalid JSON."),
            (bad("{\"conditions\": []}"), "Policy missing expiration."),
            (bad("{\"EXPIRATION\": \"\", \"conditions\": []}"), "Unexpected: 'expiration'"),
            (bad(&format!("{{\"expiration\": \"{LATER}\"}}")), "Policy missing conditions."),
            (bad(&format!("{{\"expiration\": \"{LATER}\", \"CONDITIONS\": []}}")), "Unexpected: 'conditions'"),
            (bad("{\"expiration\": 5, \"conditions\": []}"), "Invalid 'expiration' value: '5'"),
            (of("{}"), "Invalid 'conditions' value: must be a List."),
            (of("[5]"), "Invalid condition test: must be a List or Object."),
            (of("[{}]"), "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."),
            (
                of("[{\"a\": \"1\", \"b\": \"2\"}]"),
                "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
            ),
            (of("[{\"success_action_status\": 201}]"), "Invalid Simple-Condition: value must be a string."),
            (of("[[]]"), "Invalid Condition: missing operation identifier."),
            (of("[[5, \"$key\", \"a\"]]"), "Invalid Condition: missing operation identifier."),
            (of("[[\"ends-with\", \"$key\", \"a\"]]"), "Invalid Condition: unknown operation 'ends-with'."),
            (of("[[\"eq\", \"$key\"]]"), "Invalid eq: wrong number of arguments."),
            (of("[[\"content-length-range\", 0]]"), "Invalid content-length-range: wrong number of arguments."),
            (of("[[\"content-length-range\", -1, 0]]"), "Invalid JSON."),
            (of("[[\"content-length-range\", 0, 512.0]]"), "Invalid JSON."),
            (of("[[\"eq\", \"$key\", 5]]"), "Invalid JSON."),
        ] {
            assert_eq!(problem, wanted);
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(bad(&deep), "Invalid JSON.");
    }

    #[test]
    fn expirations_are_exact() {
        for (text, at) in [
            ("2023-11-14T22:13:20Z", Some(NOW)),
            ("2023-11-14T22:13:20.000Z", Some(NOW)),
            ("2023-11-14T22:13:20.5Z", Some(NOW + 500)),
            ("2023-11-14T22:13:20.123456Z", Some(NOW + 123)),
            ("2023-11-14T22:13:20", None),
            ("2023-11-14T22:13:20+00:00", None),
            ("2023-11-14 22:13:20Z", None),
            ("2023-11-14 22:13:20+00:00", None),
            ("2023-11-14T22:13:20.Z", None),
            ("2023-11-14T22:13:20.-5Z", None),
            ("2023-11-14T22:13Z", None),
            ("2023-02-30T00:00:00Z", None),
            ("20231114T221320Z", None),
            ("", None),
        ] {
            assert_eq!(instant(text), at, "{text}");
        }
        let missing = bad("{\"expiration\": \"tomorrow\", \"conditions\": []}");
        assert_eq!(missing, "Invalid 'expiration' value: 'tomorrow'");
    }

    #[test]
    fn a_policy_ends_at_its_instant() {
        let policy = policy("[{\"bucket\": \"bkt\"}]");
        assert!(policy.check(NOW, "bkt", &Fields::default()).is_ok());
        assert_eq!(policy.check(NOW + 1, "bkt", &Fields::default()), Err(PolicyError::Expired));
    }

    #[test]
    fn conditions_hold_or_are_named() {
        let failed =
            |condition: &str| Err(format!("Invalid according to Policy: Policy Condition failed: {condition}"));
        let all = Ok(0..=u64::MAX);
        for (conditions, pairs, outcome) in [
            (r#"{"key": "a"}"#, &[("key", "a")][..], all.clone()),
            (r#"{"key": "a"}"#, &[("key", "A")], failed(r#"["eq", "$key", "a"]"#)),
            (r#"["eq", "$KeY", "a"]"#, &[("kEy", "a")], all.clone()),
            (r#"["EQ", "$key", "a\"b"]"#, &[("key", "c")], failed(r#"["eq", "$key", "a\"b"]"#)),
            (r#"["eq", "key", "a"]"#, &[("key", "a")], failed(r#"["eq", "key", "a"]"#)),
            (r#"["eq", "$key", "a"]"#, &[], failed(r#"["eq", "$key", "a"]"#)),
            (r#"["starts-with", "$key", "user/"]"#, &[("key", "user/x")], all.clone()),
            (
                r#"["StArTs-WiTh", "$key", "user/"]"#,
                &[("key", "User/x")],
                failed(r#"["starts-with", "$key", "user/"]"#),
            ),
            (r#"["starts-with", "$key", ""]"#, &[("key", "anything")], all.clone()),
            (r#"["starts-with", "$key", ""]"#, &[], failed(r#"["starts-with", "$key", ""]"#)),
            (r#"["starts-with", "$Content-Type", "image/"]"#, &[("content-type", "image/png, image/gif")], all.clone()),
            (
                r#"["starts-with", "$Content-Type", "image/"]"#,
                &[("content-type", "image/png,text/html")],
                failed(r#"["starts-with", "$Content-Type", "image/"]"#),
            ),
            (r#"["starts-with", "$key", "image/"]"#, &[("key", "image/a,b")], all.clone()),
            (r#"["starts-with", "$key", "\\$foo"]"#, &[("key", "\\$foo.txt")], all.clone()),
            (r#"["starts-with", "$key", "\$foo"]"#, &[("key", "$foo.txt")], all.clone()),
            (r#"{"x-amz-meta-a": "\v"}"#, &[("x-amz-meta-a", "\u{b}")], all.clone()),
            (r#"{"bucket": "other"}"#, &[("bucket", "other")], failed(r#"["eq", "$bucket", "other"]"#)),
        ] {
            assert_eq!(check(conditions, pairs), outcome, "{conditions} {pairs:?}");
        }
    }

    #[test]
    fn every_field_needs_a_condition() {
        let extra = |name: &str| Err(format!("Invalid according to Policy: Extra input fields: {name}"));
        assert_eq!(check("", &[("key", "a")]), extra("key"));
        assert_eq!(check(r#"{"key": "a"}"#, &[("key", "a"), ("StorageClass", "x")]), extra("StorageClass"));
        let free = [
            ("policy", "x"),
            ("X-Amz-Signature", "x"),
            ("AWSAccessKeyId", "x"),
            ("signature", "x"),
            ("x-ignore-this", "x"),
            ("file", "x"),
            ("bucket", "anything"),
        ];
        assert!(check("", &free).is_ok());
        // The bucket is part of every form.
        let policy = policy(r#"[{"key": "a"}]"#);
        assert_eq!(policy.check(NOW, "bkt", &fields(&[("key", "a")])), Err(PolicyError::Extra("bucket".into())));
    }

    #[test]
    fn lengths_are_bounded_by_all_ranges_together() {
        assert_eq!(check(r#"["content-length-range", 5, 10]"#, &[]), Ok(5..=10));
        assert_eq!(check(r#"["content-length-range", "5", "10"]"#, &[]), Ok(5..=10));
        let two = r#"["content-length-range", 0, 10], ["Content-Length-Range", 3, 20]"#;
        assert_eq!(check(two, &[]), Ok(3..=10));
        let text = check(r#"["content-length-range", "test", "10"]"#, &[]).unwrap_err();
        assert!(text.ends_with(r#"Policy Condition failed: ["content-length-range", "test", "10"]"#), "{text}");
    }
}
