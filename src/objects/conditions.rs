//! Conditions of reads (RFC 9110 §13, and "Conditional reads" in the Amazon S3 user guide).

use super::{Error, Result};
use crate::clock::Millis;
use crate::metadata::Object;

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETagList {
    /// `*`
    Any,
    /// ETags without quotes.
    Of(Vec<String>),
}

impl ETagList {
    /// Reads `*`, `"a", W/"b"`, or the bare `a` that S3 also takes.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text == "*" {
            return Self::Any;
        }
        let tag = |tag: &str| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
        };
        Self::Of(text.split(',').map(tag).filter(|tag| !tag.is_empty()).collect())
    }

    fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// The conditions of a read, or of the source of a copy.
#[derive(Debug, Clone, Default)]
pub struct ReadConditions {
    /// `If-Match`
    pub matches: Option<ETagList>,
    /// `If-None-Match`
    pub none_match: Option<ETagList>,
    /// `If-Modified-Since`
    pub modified_since: Option<Millis>,
    /// `If-Unmodified-Since`
    pub unmodified_since: Option<Millis>,
}

impl ReadConditions {
    /// Tests them in RFC 9110's order: `If-Match`, or without it `If-Unmodified-Since`; then `If-None-Match`, or without it
    /// `If-Modified-Since`. Dates compare by whole seconds, and a date in the future says nothing.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] (412) or [`Error::NotModified`] (304).
    pub fn check(&self, object: &Object, now: Millis) -> Result<()> {
        let seconds = |at: Millis| at.div_euclid(1000);
        let modified = seconds(object.modified);
        match (&self.matches, self.unmodified_since) {
            (Some(tags), _) if !tags.holds(&object.etag) => {
                return Err(Error::PreconditionFailed { header: "If-Match" });
            }
            (None, Some(since)) if modified > seconds(since) => {
                return Err(Error::PreconditionFailed { header: "If-Unmodified-Since" });
            }
            _ => {}
        }
        let unchanged = match (&self.none_match, self.modified_since) {
            (Some(tags), _) => tags.holds(&object.etag),
            (None, Some(since)) => since <= now && modified <= seconds(since),
            (None, None) => false,
        };
        if unchanged {
            return Err(Error::NotModified { etag: object.etag.clone(), modified: object.modified });
        }
        Ok(())
    }

    /// Tests them for a copy's source, where everything that fails is a 412.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`].
    pub fn check_source(&self, object: &Object, now: Millis) -> Result<()> {
        self.check(object, now).map_err(|error| match error {
            Error::PreconditionFailed { header: "If-Match" } => {
                Error::PreconditionFailed { header: "x-amz-copy-source-If-Match" }
            }
            Error::PreconditionFailed { .. } => {
                Error::PreconditionFailed { header: "x-amz-copy-source-If-Unmodified-Since" }
            }
            _ if self.none_match.is_some() => Error::PreconditionFailed { header: "x-amz-copy-source-If-None-Match" },
            _ => Error::PreconditionFailed { header: "x-amz-copy-source-If-Modified-Since" },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metadata::{Content, Headers, ObjectLock, StorageClass, Tags};

    fn object() -> Object {
        Object {
            key: "k".into(),
            size: 1,
            etag: "aa".into(),
            modified: 5_700,
            checksum: None,
            headers: Headers::default(),
            tags: Tags::new(),
            owner: String::new(),
            parts: None,
            lock: ObjectLock::default(),
            acl: None,
            storage_class: StorageClass::Standard,
            content: Content::Empty,
        }
    }

    fn tags(text: &str) -> Option<ETagList> {
        Some(ETagList::parse(text))
    }

    #[test]
    fn etags_are_read_as_clients_write_them() {
        assert_eq!(ETagList::parse(" * "), ETagList::Any);
        assert_eq!(ETagList::parse("\"a\", W/\"b\",c"), ETagList::Of(vec!["a".into(), "b".into(), "c".into()]));
    }

    #[test]
    fn the_table_of_rfc_9110() {
        let now = 100_000;
        let ok = |c: ReadConditions| c.check(&object(), now).is_ok();
        let none = ReadConditions::default;
        assert!(ok(none()));
        assert!(ok(ReadConditions { matches: tags("\"aa\""), ..none() }));
        assert!(!ok(ReadConditions { matches: tags("\"bb\""), ..none() }));
        // If-Match that holds overrules If-Unmodified-Since that does not.
        assert!(ok(ReadConditions { matches: tags("aa"), unmodified_since: Some(1_000), ..none() }));
        assert!(!ok(ReadConditions { unmodified_since: Some(4_000), ..none() }));
        assert!(ok(ReadConditions { unmodified_since: Some(5_000), ..none() }), "dates compare by seconds");
        assert!(!ok(ReadConditions { none_match: tags("*"), ..none() }));
        assert!(ok(ReadConditions { none_match: tags("bb"), modified_since: Some(9_000), ..none() }));
        assert!(!ok(ReadConditions { modified_since: Some(5_000), ..none() }));
        assert!(ok(ReadConditions { modified_since: Some(now + 1_000), ..none() }), "the future says nothing");
        let source = ReadConditions { none_match: tags("aa"), ..none() }.check_source(&object(), now);
        assert!(matches!(source, Err(Error::PreconditionFailed { header: "x-amz-copy-source-If-None-Match" })));
    }
}
