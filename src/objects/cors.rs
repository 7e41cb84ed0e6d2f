//! Which pages of other origins may use a bucket, as browsers ask about it.
//!
//! Source: "Using cross-origin resource sharing (CORS)" in the Amazon S3 user guide, where it says how S3 evaluates a bucket's rules.

use serde::{Deserialize, Serialize};

use super::{Result, Store};
use crate::metadata::ConfigKind;

/// The methods that a rule may allow, and a browser may ask for.
pub const CORS_METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// A bucket's rules, in the order in which they are tried.
///
/// `CORSConfiguration` in the Amazon S3 API reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRules(pub Vec<CorsRule>);

/// Who may do what.
///
/// `CORSRule` in the Amazon S3 API reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Origins, each with one `*` at most.
    pub origins: Vec<String>,
    /// Some of [`CORS_METHODS`].
    pub methods: Vec<String>,
    /// Names of headers that a request may have, each with one `*` at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Names of headers of the answer that a page may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// For how many seconds a browser may remember the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// What a browser asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRequest {
    /// Where the page is from.
    pub origin: String,
    /// The method that it wants to use.
    pub method: String,
    /// The headers that it wants to send.
    pub headers: Vec<String>,
}

/// What a browser is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsGrant {
    /// Whether every origin is allowed. Otherwise it is the one that asked, and with credentials.
    pub any_origin: bool,
    /// All methods of the rule.
    pub methods: Vec<String>,
    /// The headers that were asked for, in lower case.
    pub headers: Vec<String>,
    /// Headers of the answer that a page may see.
    pub expose: Vec<String>,
    /// For how many seconds this may be remembered.
    pub max_age: Option<u32>,
}

impl CorsRules {
    /// What the first rule that fits grants.
    pub fn evaluate(&self, request: &CorsRequest) -> Option<CorsGrant> {
        let rule = self.0.iter().find(|rule| rule.fits(request))?;
        Some(CorsGrant {
            any_origin: rule.origins.iter().any(|origin| origin == "*"),
            methods: rule.methods.clone(),
            headers: request.headers.iter().map(|header| header.to_ascii_lowercase()).collect(),
            expose: rule.expose.clone(),
            max_age: rule.max_age,
        })
    }
}

impl CorsRule {
    /// Methods and origins are compared as they are, names of headers without regard to case.
    fn fits(&self, request: &CorsRequest) -> bool {
        let header_fits = |header: &String| {
            let header = header.to_ascii_lowercase();
            self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &header))
        };
        self.methods.contains(&request.method)
            && self.origins.iter().any(|pattern| matches(pattern, &request.origin))
            && request.headers.iter().all(header_fits)
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text or none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The earliest place for each piece leaves the most to the ones after it.
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

impl Store {
    /// A bucket's rules; `None` if it has none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_cors(&self, bucket: &str) -> Result<Option<CorsRules>> {
        self.config(bucket, ConfigKind::Cors).await
    }

    /// Gives a bucket these rules in place of those it has, or takes them away.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_cors(&self, bucket: String, rules: Option<CorsRules>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Cors, rules.as_ref()).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|&text| text.to_owned()).collect()
    }

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        CorsRule {
            origins: strings(origins),
            methods: strings(methods),
            headers: strings(headers),
            ..CorsRule::default()
        }
    }

    fn ask(origin: &str, method: &str, headers: &[&str]) -> CorsRequest {
        CorsRequest { origin: origin.into(), method: method.into(), headers: strings(headers) }
    }

    #[test]
    fn a_star_is_any_text_or_none() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "http://a.test", true),
            ("http://a.test", "http://a.test", true),
            ("http://a.test", "http://A.test", false),
            ("http://a.test", "http://a.test:80", false),
            ("http://a.test", "https://a.test", false),
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("start*end", "startend", true),
            ("start*end", "start1end", true),
            ("start*end", "0start1end", false),
            ("start*tend", "startend", false),
            ("prefix*", "prefix", true),
            ("prefix*", "bla.prefix", false),
            ("http://*.a.test:*", "http://x.a.test:8080", true),
            ("http://*.a.test:*", "http://x.b.test:8080", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a**c", "ac", true),
            ("*aab", "aaab", true),
            ("*x*x*", "x", false),
            ("", "", true),
            ("", "http://a.test", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn origin_method_and_headers_must_fit_the_same_rule() {
        let rules = CorsRules(vec![
            rule(&["http://a.test"], &["GET"], &[]),
            rule(&["http://*.b.test", "https://c.test"], &["PUT", "DELETE"], &["x-amz-*", "Content-Type"]),
        ]);
        for (request, granted) in [
            (ask("http://a.test", "GET", &[]), true),
            (ask("http://a.test", "PUT", &[]), false),
            (ask("http://a.test", "get", &[]), false),
            (ask("http://a.test", "GET", &["range"]), false),
            (ask("http://x.b.test", "PUT", &[]), true),
            (ask("https://c.test", "DELETE", &["X-AMZ-Date", "content-type"]), true),
            (ask("https://c.test", "DELETE", &["x-amz-date", "range"]), false),
            (ask("https://c.test", "GET", &[]), false),
            (ask("null", "GET", &[]), false),
        ] {
            assert_eq!(rules.evaluate(&request).is_some(), granted, "{request:?}");
        }
        assert_eq!(CorsRules::default().evaluate(&ask("http://a.test", "GET", &[])), None);
    }

    #[test]
    fn the_first_rule_that_fits_is_the_answer() {
        let first =
            CorsRule { expose: strings(&["ETag"]), max_age: Some(60), ..rule(&["http://a*"], &["GET"], &["*"]) };
        let rules = CorsRules(vec![first, rule(&["http://x.test", "*"], &["HEAD", "GET"], &["*"])]);
        let grant = rules.evaluate(&ask("http://a.test", "GET", &["X-Custom", "Range"])).unwrap();
        assert_eq!(
            grant,
            CorsGrant {
                any_origin: false,
                methods: strings(&["GET"]),
                headers: strings(&["x-custom", "range"]),
                expose: strings(&["ETag"]),
                max_age: Some(60),
            }
        );
        let grant = rules.evaluate(&ask("http://x.test", "GET", &[])).unwrap();
        assert!(grant.any_origin && grant.headers.is_empty() && grant.max_age.is_none());
        assert_eq!(grant.methods, ["HEAD", "GET"]);
    }
}
