//! Elements of answers that `s3s` has no place for: what MinIO's `metadata=true` says of what is listed, and checksums by the algorithms
//! that S3 has since 2026.
//!
//! Sources: `ObjectInfo`'s way into XML in minio/minio's `cmd/api-response.go`, and what its clients read; "Checksum" and "ObjectPart" in
//! the Amazon S3 API reference.

use std::borrow::Cow;

use http::Extensions;

use super::version_order::elements;

/// In the extensions of an answer: what is to stand at the end of its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptions(Vec<Description>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Description {
    /// Name of the elements.
    of: &'static str,
    /// XML; as many as there are elements.
    each: Vec<String>,
}

impl Descriptions {
    /// The same with XML for each of the elements of this name, in their order. Where there is none for any of them nothing is to be done.
    #[must_use]
    pub fn and(mut self, of: &'static str, each: Vec<String>) -> Self {
        if each.iter().any(|description| !description.is_empty()) {
            self.0.push(Description { of, each });
        }
        self
    }

    /// Puts them among the extensions of an answer, if there are any.
    pub fn put(self, extensions: &mut Extensions) {
        if !self.0.is_empty() {
            extensions.insert(self);
        }
    }

    /// The document with its descriptions. What is not as `s3s` writes it is left as it is.
    pub(super) fn apply<'a>(&self, xml: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(xml), |xml, description| match description.apply(&xml) {
            Some(described) => Cow::Owned(described),
            None => xml,
        })
    }
}

impl Description {
    fn apply(&self, xml: &str) -> Option<String> {
        let found = elements(xml, self.of);
        if found.len() != self.each.len() {
            return None;
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
        Some(described)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_described() {
        let given = "<?xml?><R><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents><X/></R>";
        let owned = |each: &[&str]| each.iter().map(|&s| s.to_owned()).collect();
        let each = |each: &[&str]| Descriptions::default().and("Contents", owned(each));
        let expected = "<?xml?><R><Contents><Key>a</Key><T>1</T></Contents><Contents><Key>b</Key></Contents><X/></R>";
        assert_eq!(each(&["<T>1</T>", ""]).apply(given), expected);
        // Another number of them is none of ours.
        assert_eq!(each(&["<T>1</T>"]).apply(given), given);
        assert_eq!(each(&[]).apply("<R/>"), "<R/>");
        let both = each(&["<T>1</T>", ""]).and("X", owned(&["<Y/>"])).and("Key", owned(&["", ""]));
        let given = given.replace("<X/>", "<X></X>");
        assert_eq!(both.apply(&given), expected.replace("<X/>", "<X><Y/></X>"));
    }

    #[test]
    fn what_describes_nothing_is_not_there() {
        let mut extensions = Extensions::new();
        Descriptions::default().and("Part", vec![String::new()]).put(&mut extensions);
        assert_eq!(extensions.get::<Descriptions>(), None);
        Descriptions::default().and("Part", vec!["<C/>".into()]).put(&mut extensions);
        assert!(extensions.get::<Descriptions>().is_some());
    }
}
