//! Where an audit log goes, as an operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::{Host, Url};

/// Where an audit log goes. `Display` leaves out what may be secret: the query of an address.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// A file, which is appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// An address that records are posted to.
    Webhook(Url),
}

/// A text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

impl Target {
    /// Whether what goes there can be read on its way by others than this machine.
    pub fn is_exposed(&self) -> bool {
        let Self::Webhook(url) = self else { return false };
        let is_here = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        url.scheme() == "http" && !is_here
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |reason: &str| Err(TargetError(reason.to_owned()));
        if text == "stdout" {
            return Ok(Self::Stdout);
        }
        if let Some(path) = text.strip_prefix("file:") {
            // As a URL has it, too.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { wrong("file: needs a path") } else { Ok(Self::File(path.into())) };
        }
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return wrong("it must be file:PATH, stdout, or an address that starts with https://");
        }
        // Without the text itself, which may have a secret.
        let url = Url::parse(text).map_err(|error| TargetError(format!("it is no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("an address with a password is shown by too many; use NINEFOLD_AUDIT_WEBHOOK_TOKEN");
        }
        Ok(Self::Webhook(url))
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Stdout => f.write_str("stdout"),
            Self::Webhook(url) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn targets_are_told_apart_and_keep_their_secrets() {
        for (text, shown, exposed) in [
            ("stdout", "stdout", false),
            ("file:audit.log", "file:audit.log", false),
            ("file:///var/log/audit", "file:/var/log/audit", false),
            ("https://siem.example/in?token=hush", "https://siem.example/in", false),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x", false),
            ("http://[::1]:8080/", "http://[::1]:8080/", false),
            ("http://LOCALHOST/", "http://localhost/", false),
            ("http://siem.example/", "http://siem.example/", true),
            ("http://localhost.example/", "http://localhost.example/", true),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.is_exposed()), (shown, exposed), "{text}");
            assert!(!format!("{target:?}").contains("hush"));
        }
        for text in ["", "file:", "/var/log/audit", "ftp://a/", "https://", "https://me:hush@a/", "stderr"] {
            assert!(text.parse::<Target>().is_err_and(|error| !error.to_string().contains("hush")), "{text}");
        }
    }
}
