//! Which bucket a `Host` header names.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains under which `bucket.domain` names a bucket. Every other host is path-style, whatever it looks like.
#[derive(Debug, Clone, Default)]
pub struct Domains(Vec<String>);

impl Domains {
    /// Domains in any case, without port. The longest that fits counts.
    pub fn new(domains: impl IntoIterator<Item = String>) -> Self {
        let mut domains: Vec<String> =
            domains.into_iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(domains)
    }

    /// The bucket that a `Host` header names, if it names one.
    pub fn bucket(&self, host: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let host = Self::name(host);
        if self.0.contains(&host) {
            return None;
        }
        self.0.iter().find_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned))
    }

    /// Whether a `Host` header names one of the domains itself.
    pub fn contains(&self, host: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&Self::name(host))
    }

    /// The name in a `Host` header: in lower case, without port and final dot.
    pub fn name(host: &str) -> String {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let virtual_host = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}

/// Whether S3 takes `name` for a bucket.
pub fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
}

/// Names that are well-formed to s3s but that S3 refuses or keeps for itself ("General purpose bucket naming rules", Amazon S3 user
/// guide), and `minio`, below which health and metrics are (as MinIO reserves it).
pub fn is_reserved(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    // No label of a host name begins or ends with a hyphen.
    const LABELS: [&str; 2] = [".-", "-."];
    name == "minio"
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || LABELS.iter().any(|label| name.contains(label))
}

/// Whether `name` can be a domain: labels of letters, digits and inner hyphens.
pub fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_domains_have_buckets() {
        let domains = Domains::new(["S3.Example.com".to_owned(), "eu.s3.example.com".to_owned(), "local".to_owned()]);
        for (host, bucket) in [
            ("bkt.s3.example.com", Some("bkt")),
            ("BKT.S3.EXAMPLE.COM:9000", Some("bkt")),
            ("a.b.s3.example.com.", Some("a.b")),
            ("x.eu.s3.example.com", Some("x")),
            ("eu.s3.example.com", None),
            ("s3.example.com:443", None),
            ("bkts3.example.com", None),
            ("bkt.example.com", None),
            ("localhost:9000", None),
            ("bkt.local", Some("bkt")),
            ("minio", None),
            ("[::1]:9000", None),
            ("127.0.0.1", None),
            (".s3.example.com", Some("")),
        ] {
            assert_eq!(domains.bucket(host).as_deref(), bucket, "{host}");
        }
        assert!(domains.contains("S3.example.com.:80") && !domains.contains("bkt.s3.example.com"));
        assert_eq!(Domains::name("WWW.Example.com.:80"), "www.example.com");
        assert_eq!(Domains::default().bucket("bkt.s3.example.com"), None);
    }

    #[test]
    fn some_names_are_kept() {
        for name in ["minio", "xn--bucket", "bucket-s3alias", "a.-b"] {
            assert!(is_reserved(name), "{name}");
        }
        assert!(!is_reserved("minio1") && !is_reserved("my-minio"));
    }
}
