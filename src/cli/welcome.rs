//! What a person needs next, on standard output.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::access::{RootCredentials, RootSource};

/// What there is to tell.
pub(super) struct Welcome<'a> {
    pub(super) address: SocketAddr,
    /// Where websites alone are served.
    pub(super) websites: Option<SocketAddr>,
    /// Whether all is served over TLS.
    pub(super) secure: bool,
    pub(super) region: &'a str,
    pub(super) root: &'a RootCredentials,
    pub(super) source: &'a RootSource,
    pub(super) bucket: Option<&'a str>,
}

impl Welcome<'_> {
    /// The secret is in it only if it has just been made: what is printed ends up in logs.
    pub(super) fn text(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", client_address(self.address));
        let key = &self.root.access_key;
        let bucket = self.bucket.unwrap_or("my-bucket");
        let secret = match self.source {
            RootSource::Generated(_) => self.root.secret_key.expose().to_owned(),
            RootSource::File(path) => format!("<secret_key in {}>", path.display()),
            RootSource::Configured => "<the root password you configured>".to_owned(),
        };
        let mut text = format!("Ninefold serves S3 at {endpoint}\n");
        // Writing to a String cannot fail.
        if let Some(address) = self.websites {
            let _ = writeln!(text, "Websites are at {scheme}://{}, each under its own host", client_address(address));
        }
        let _ = match self.source {
            RootSource::Generated(path) => writeln!(
                text,
                "\nRoot credentials were made and are kept in {}. The secret is not shown again.\n\
                 \n  access key  {key}\n  secret key  {secret}",
                path.display()
            ),
            RootSource::File(path) => writeln!(text, "Root credentials: {}", path.display()),
            RootSource::Configured => writeln!(text, "Root user: {key}"),
        };
        let _ = write!(
            text,
            "\nFor the AWS CLI, in ~/.aws/config (then: export AWS_PROFILE=ninefold):\n\
             \n[profile ninefold]\
             \naws_access_key_id = {key}\
             \naws_secret_access_key = {secret}\
             \nregion = {region}\
             \nendpoint_url = {endpoint}\
             \ns3 =\
             \n\x20   signature_version = s3v4\n\
             \nFor rclone, in rclone.conf:\n\
             \n[ninefold]\
             \ntype = s3\
             \nprovider = Other\
             \nendpoint = {endpoint}\
             \nregion = {region}\
             \naccess_key_id = {key}\
             \nsecret_access_key = {secret}\n\
             \nThen:\n\n",
            region = self.region,
        );
        if self.bucket.is_none() {
            let _ = writeln!(text, "  aws --profile ninefold s3 mb s3://{bucket}");
        }
        let _ = writeln!(text, "  aws --profile ninefold s3 cp FILE s3://{bucket}/\n");
        text
    }
}

/// A server at every address is reached, from here, at the loopback one.
fn client_address(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::access::Secret;

    fn text(source: &RootSource, bucket: Option<&str>) -> String {
        welcome(source, bucket, false)
    }

    fn welcome(source: &RootSource, bucket: Option<&str>, secure: bool) -> String {
        let root = RootCredentials { access_key: "AKEY".into(), secret_key: Secret::new("sssshhhh") };
        let (address, websites) = ("0.0.0.0:1234".parse().unwrap(), Some("0.0.0.0:80".parse().unwrap()));
        Welcome { address, websites, secure, region: "us-east-1", root: &root, source, bucket }.text()
    }

    #[test]
    fn over_tls_it_is_https() {
        let text = welcome(&RootSource::Configured, None, true);
        assert!(text.contains("endpoint = https://127.0.0.1:1234\n") && !text.contains("http://"), "{text}");
        assert!(text.contains("Websites are at https://127.0.0.1:80,"), "{text}");
    }

    #[test]
    fn a_fresh_secret_is_shown_and_no_other() {
        let fresh = text(&RootSource::Generated("/d/credentials".into()), Some("photos"));
        assert!(fresh.contains("aws_secret_access_key = sssshhhh"), "{fresh}");
        assert!(fresh.contains("endpoint_url = http://127.0.0.1:1234\n"), "{fresh}");
        // Version 1 of the AWS CLI presigns with version 2 of the signature unless it is told otherwise.
        assert!(fresh.contains("\ns3 =\n    signature_version = s3v4\n"), "{fresh}");
        assert!(fresh.contains("Websites are at http://127.0.0.1:80,"), "{fresh}");
        assert!(fresh.contains("s3 cp FILE s3://photos/") && !fresh.contains("s3 mb"), "{fresh}");
        for source in [RootSource::File("/d/credentials".into()), RootSource::Configured] {
            let later = text(&source, None);
            assert!(!later.contains("sssshhhh") && later.contains("s3 mb s3://my-bucket"), "{later}");
        }
        assert!(text(&RootSource::File("/d/credentials".into()), None).contains("/d/credentials"));
    }
}
