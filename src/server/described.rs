//! Listings that describe what they list: MinIO's `metadata=true`.
//!
//! Its elements are none of S3's, so that `s3s` has no place for them. Source: `ObjectInfo`'s way into XML in minio/minio's
//! `cmd/api-response.go`, and what its clients read.

use std::borrow::Cow;

use super::version_order::elements;

/// In the extensions of a listing's answer: what is to stand at the end of each of its elements, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptions {
    /// The elements: `Contents` or `Version`.
    pub of: &'static str,
    /// XML; as many as there are elements.
    pub each: Vec<String>,
}

impl Descriptions {
    /// The document with its descriptions. What is not as `s3s` writes it is left as it is.
    pub(super) fn apply<'a>(&self, xml: &'a str) -> Cow<'a, str> {
        let found = elements(xml, self.of);
        if found.len() != self.each.len() {
            return Cow::Borrowed(xml);
        }
        let mut described = String::with_capacity(xml.len() + self.each.iter().map(String::len).sum::<usize>());
        let mut rest = 0;
        for ((_, end), description) in found.into_iter().zip(&self.each) {
            let end_tag = end - self.of.len() - "</>".len();
            described.push_str(xml.get(rest..end_tag).unwrap_or_default());
            described.push_str(description);
            rest = end_tag;
        }
        described.push_str(xml.get(rest..).unwrap_or_default());
        Cow::Owned(described)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_described() {
        let given = "<?xml?><R><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents><X/></R>";
        let each = |each: &[&str]| Descriptions { of: "Contents", each: each.iter().map(|&s| s.to_owned()).collect() };
        let expected = "<?xml?><R><Contents><Key>a</Key><T>1</T></Contents><Contents><Key>b</Key></Contents><X/></R>";
        assert_eq!(each(&["<T>1</T>", ""]).apply(given), expected);
        // Another number of them is none of ours.
        assert_eq!(each(&["<T>1</T>"]).apply(given), given);
        assert_eq!(each(&[]).apply("<R/>"), "<R/>");
    }
}
