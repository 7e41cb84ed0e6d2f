//! Buckets as websites: which page a path is, and where else it may lead.
//!
//! Source: "Hosting a static website using Amazon S3" in the Amazon S3 user guide, above all "Configuring an index document",
//! "Configuring a custom error document" and "Configuring a webpage redirect".

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Result, Store};
use crate::metadata::ConfigKind;

/// What of a key is written otherwise in a URL's path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// What of an operator's own text cannot be in a header. All else is left as it is: `#!/` and `?a=b` are in use there.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ');

/// How a bucket is a website.
///
/// `WebsiteConfiguration` in the Amazon S3 API reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Website {
    /// Whatever is asked for is elsewhere.
    RedirectAll {
        /// Where.
        host: String,
        /// How to get there, if not as one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<WebProtocol>,
    },
    /// Objects are pages.
    Pages(Pages),
}

/// Objects as pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// What is added to a path that ends with `/`.
    pub index: String,
    /// The page in the place of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What leads elsewhere, in the order in which it is tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RoutingRule>,
}

/// What leads elsewhere.
///
/// `RoutingRule` in the Amazon S3 API reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRule {
    /// Only keys that start so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only if this would be the answer's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// The host to go to, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How to get there, if not as one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<WebProtocol>,
    /// The status; 301 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replace>,
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    /// This takes its place.
    Key(String),
    /// This takes the place of the rule's prefix.
    Prefix(String),
}

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebProtocol {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl WebProtocol {
    /// As URLs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How the client came, which is where it goes where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came<'a> {
    /// By this protocol.
    pub protocol: WebProtocol,
    /// To this host, with its port.
    pub host: &'a str,
}

impl Pages {
    /// The key of the page at a path.
    pub fn page<'a>(&self, path: &'a str) -> Cow<'a, str> {
        if path.is_empty() || path.ends_with('/') {
            Cow::Owned(format!("{path}{}", self.index))
        } else {
            Cow::Borrowed(path)
        }
    }

    /// The first rule for a path: before it is asked for the page, or once the answer would be an error.
    pub fn rule(&self, path: &str, error: Option<u16>) -> Option<&RoutingRule> {
        let fits = |rule: &&RoutingRule| rule.error == error && path.starts_with(rule.prefix.as_deref().unwrap_or(""));
        self.rules.iter().find(fits)
    }
}

impl RoutingRule {
    /// The status that it answers with.
    pub fn status(&self) -> u16 {
        self.code.unwrap_or(301)
    }

    /// Where a path leads.
    pub fn location(&self, path: &str, came: Came<'_>) -> String {
        let own = |text: &str| utf8_percent_encode(text, IN_HEADER).to_string();
        let path = match &self.replace {
            Some(Replace::Key(key)) => own(key),
            Some(Replace::Prefix(with)) => {
                let rest = path.strip_prefix(self.prefix.as_deref().unwrap_or("")).unwrap_or(path);
                own(with) + &utf8_percent_encode(rest, IN_PATH).to_string()
            }
            None => utf8_percent_encode(path, IN_PATH).to_string(),
        };
        let host = self.host.as_deref().map_or(Cow::Borrowed(came.host), |host| Cow::Owned(own(host)));
        format!("{}://{host}/{path}", self.protocol.unwrap_or(came.protocol).name())
    }
}

/// The path, on the same host, of the directory that a path without a slash at its end turned out to be.
pub fn directory(path: &str) -> String {
    // `//x` would be a host.
    let (slash, rest) = path.strip_prefix('/').map_or(("", path), |rest| ("%2F", rest));
    format!("/{slash}{}/", utf8_percent_encode(rest, IN_PATH))
}

impl Store {
    /// How a bucket is a website; `None` if it is none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn bucket_website(&self, bucket: &str) -> Result<Option<Website>> {
        self.config(bucket, ConfigKind::Website).await
    }

    /// Makes a bucket a website of another kind, or none.
    ///
    /// # Errors
    /// No such bucket.
    pub async fn set_bucket_website(&self, bucket: String, website: Option<Website>) -> Result<()> {
        self.set_config(bucket, ConfigKind::Website, website.as_ref()).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CAME: Came<'_> = Came { protocol: WebProtocol::Http, host: "site.test:8080" };

    #[test]
    fn a_path_that_ends_with_a_slash_is_its_index() {
        let pages = Pages { index: "index.html".into(), ..Pages::default() };
        for (path, page) in [("", "index.html"), ("a/", "a/index.html"), ("a", "a"), ("a/b.html", "a/b.html")] {
            assert_eq!(pages.page(path), page);
        }
    }

    #[test]
    fn the_first_rule_of_its_time_counts() {
        let rule = |prefix: Option<&str>, error, key: &str| RoutingRule {
            prefix: prefix.map(str::to_owned),
            error,
            replace: Some(Replace::Key(key.into())),
            ..RoutingRule::default()
        };
        let pages = Pages {
            rules: vec![
                rule(Some("docs/"), Some(404), "lost-docs"),
                rule(Some("docs/old/"), None, "old"),
                rule(None, Some(404), "lost"),
                rule(None, Some(403), "secret"),
            ],
            ..Pages::default()
        };
        let found = |path: &str, error| pages.rule(path, error).map(|rule| rule.location(path, CAME));
        assert_eq!(found("docs/old/x", None).as_deref(), Some("http://site.test:8080/old"));
        assert_eq!(found("docs/x", None), None);
        assert_eq!(found("docs/x", Some(404)).as_deref(), Some("http://site.test:8080/lost-docs"));
        assert_eq!(found("x", Some(404)).as_deref(), Some("http://site.test:8080/lost"));
        assert_eq!(found("x", Some(403)).as_deref(), Some("http://site.test:8080/secret"));
        assert_eq!(found("x", Some(500)), None);
    }

    #[test]
    fn rules_lead_where_s3_s_lead() {
        let prefix = |prefix: &str| Some(Replace::Prefix(prefix.into()));
        let docs =
            RoutingRule { prefix: Some("docs/".into()), replace: prefix("documents/"), ..RoutingRule::default() };
        assert_eq!(docs.location("docs/x y/ü", CAME), "http://site.test:8080/documents/x%20y/%C3%BC");
        assert_eq!(docs.location("docs/", CAME), "http://site.test:8080/documents/");
        let elsewhere = RoutingRule {
            host: Some("other.test".into()),
            protocol: Some(WebProtocol::Https),
            replace: prefix("report-404/"),
            code: Some(307),
            ..RoutingRule::default()
        };
        assert_eq!(
            (elsewhere.location("a/b", CAME).as_str(), elsewhere.status()),
            ("https://other.test/report-404/a/b", 307)
        );
        let app = RoutingRule { replace: prefix("#!/"), ..RoutingRule::default() };
        assert_eq!((app.location("a?b", CAME).as_str(), app.status()), ("http://site.test:8080/#!/a%3Fb", 301));
        let removed = RoutingRule { prefix: Some("old/".into()), replace: prefix(""), ..RoutingRule::default() };
        assert_eq!(removed.location("old/a", CAME), "http://site.test:8080/a");
        let same = RoutingRule { host: Some("other.test".into()), ..RoutingRule::default() };
        assert_eq!(same.location("a/\r\nb", CAME), "http://other.test/a/%0D%0Ab");
        let odd = RoutingRule { replace: Some(Replace::Key("a\r\nb c".into())), ..RoutingRule::default() };
        assert_eq!(odd.location("x", CAME), "http://site.test:8080/a%0D%0Ab%20c");
    }

    #[test]
    fn a_directory_is_on_the_same_host() {
        for (path, expected) in
            [("photos", "/photos/"), ("a b/c", "/a%20b/c/"), ("/evil.test", "/%2Fevil.test/"), ("//x", "/%2F/x/")]
        {
            assert_eq!(directory(path), expected);
        }
    }
}
