//! What the rules of several configurations say alike: which objects they are about, their names, whether they count.

use std::collections::HashSet;

use s3s::S3Result;
use s3s::dto::{Tag, TagSet};

use super::error::{invalid_argument, invalid_request, malformed_xml};
use super::tagging;
use crate::clock::random_bytes;
use crate::objects::Filter;

/// Rules of a configuration at most.
pub(super) const RULES: usize = 1000;
/// Characters of a rule's name at most.
const ID_LEN: usize = 255;
/// Bytes of a prefix at most.
const PREFIX_LEN: usize = 1024;

/// `Enabled` or `Disabled`.
pub(super) fn from_status(status: &str) -> S3Result<bool> {
    match status {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err(malformed_xml()),
    }
}

/// The same, as S3 writes it.
pub(super) fn to_status<T: From<String>>(enabled: bool) -> T {
    String::from(if enabled { "Enabled" } else { "Disabled" }).into()
}

/// Gives names to the rules that came without one; no two may have the same.
#[derive(Debug, Default)]
pub(super) struct Ids(HashSet<String>);

impl Ids {
    pub(super) fn add(&mut self, id: Option<String>) -> S3Result<String> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| hex::encode(random_bytes::<16>()));
        if id.chars().count() > ID_LEN {
            return Err(invalid_argument("ID", &id, format!("ID length should not exceed allowed limit of {ID_LEN}")));
        }
        if !self.0.insert(id.clone()) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(invalid_argument("ID", &id, message));
        }
        Ok(id)
    }
}

/// A prefix of keys.
pub(super) fn from_prefix(prefix: String) -> S3Result<String> {
    if prefix.len() > PREFIX_LEN {
        return Err(invalid_request(format!("The maximum size of a prefix is {PREFIX_LEN}.")));
    }
    Ok(prefix)
}

/// What a filter says outside its `And`, or within it.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) prefix: Option<String>,
    pub(super) tags: TagSet,
    pub(super) larger_than: Option<i64>,
    pub(super) smaller_than: Option<i64>,
}

impl Conditions {
    fn into_filter(self) -> S3Result<Filter> {
        let bytes = |name: &str, value: Option<i64>, least: u64| match value {
            None => Ok(None),
            Some(given) => match u64::try_from(given).ok().filter(|&value| value >= least) {
                Some(value) => Ok(Some(value)),
                None => {
                    let message =
                        format!("'{name}' must be a {} integer", if least == 0 { "non-negative" } else { "positive" });
                    Err(invalid_argument(name, &given.to_string(), message))
                }
            },
        };
        let larger_than = bytes("ObjectSizeGreaterThan", self.larger_than, 0)?;
        let smaller_than = bytes("ObjectSizeLessThan", self.smaller_than, 1)?;
        if let (Some(larger), Some(smaller)) = (larger_than, smaller_than)
            && smaller <= larger.saturating_add(1)
        {
            let message = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.";
            return Err(invalid_request(message));
        }
        let mut tags = crate::metadata::Tags::new();
        for Tag { key, value } in self.tags {
            let (key, value) = (key.ok_or_else(malformed_xml)?, value.ok_or_else(malformed_xml)?);
            if tags.contains_key(&key) {
                return Err(invalid_request("Duplicate Tag Keys are not allowed."));
            }
            tagging::add(&mut tags, key, value)?;
        }
        Ok(Filter { prefix: self.prefix.map(from_prefix).transpose()?, tags, larger_than, smaller_than })
    }
}

/// A filter: one condition, or `and` with more than one.
pub(super) fn from_filter(outside: Conditions, and: Option<Conditions>) -> S3Result<Filter> {
    let outside = outside.into_filter()?;
    let (filter, fits) = match and {
        None => {
            let fits = outside.conditions() <= 1;
            (outside, fits)
        }
        Some(within) => {
            let within = within.into_filter()?;
            let fits = outside.conditions() == 0 && within.conditions() > 1;
            (within, fits)
        }
    };
    if fits { Ok(filter) } else { Err(malformed_xml()) }
}

/// The bucket that an ARN names (`arn:aws:s3:::name`).
pub(super) fn bucket_of_arn(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:aws:s3:::")?;
    (!name.is_empty() && !name.contains(['/', ':'])).then_some(name)
}

/// A bucket's ARN.
pub(super) fn arn_of_bucket(name: &str) -> String {
    format!("arn:aws:s3:::{name}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn prefix(text: &str) -> Conditions {
        Conditions { prefix: Some(text.to_owned()), ..Conditions::default() }
    }

    fn tags(keys: &[&str]) -> TagSet {
        keys.iter().map(|&key| Tag { key: Some(key.to_owned()), value: Some("v".to_owned()) }).collect()
    }

    #[test]
    fn one_condition_stands_alone_and_more_are_joined() {
        let none = Conditions::default;
        let two = || Conditions { tags: tags(&["a"]), ..prefix("p") };
        assert_eq!(from_filter(none(), None).unwrap(), Filter::default());
        assert_eq!(from_filter(prefix(""), None).unwrap().prefix.unwrap(), "");
        assert_eq!(from_filter(none(), Some(two())).unwrap().conditions(), 2);
        let sizes = Conditions { larger_than: Some(0), smaller_than: Some(2), ..none() };
        assert_eq!(from_filter(none(), Some(sizes)).unwrap().conditions(), 2);
        for (outside, and, code) in [
            (two(), None, "MalformedXML"),
            (prefix("p"), Some(two()), "MalformedXML"),
            (none(), Some(prefix("p")), "MalformedXML"),
            (none(), Some(none()), "MalformedXML"),
            (none(), Some(Conditions { tags: tags(&["a", "a"]), ..none() }), "InvalidRequest"),
            (Conditions { tags: tags(&["aws:a"]), ..none() }, None, "InvalidTag"),
            (Conditions { tags: vec![Tag { key: None, value: None }], ..none() }, None, "MalformedXML"),
            (Conditions { larger_than: Some(-1), ..none() }, None, "InvalidArgument"),
            (Conditions { smaller_than: Some(0), ..none() }, None, "InvalidArgument"),
            (none(), Some(Conditions { larger_than: Some(5), smaller_than: Some(5), ..none() }), "InvalidRequest"),
            (prefix(&"p".repeat(1025)), None, "InvalidRequest"),
        ] {
            let said = format!("{outside:?} {and:?}");
            assert_eq!(from_filter(outside, and).unwrap_err().code().as_str(), code, "{said}");
        }
    }

    #[test]
    fn arns_of_buckets() {
        assert_eq!(bucket_of_arn("arn:aws:s3:::a"), Some("a"));
        for bad in ["a", "arn:aws:s3:::", "arn:aws:s3:::a/b", "arn:aws:s3:us-east-1::a", "arn:aws:sqs:::a"] {
            assert_eq!(bucket_of_arn(bad), None, "{bad}");
        }
    }
}
