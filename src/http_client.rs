//! Requests that the server itself makes over HTTP: to identity providers, to authorities that give certificates, and to webhooks of the audit log.
//!
//! HTTP/1.1, by hyper; TLS by rustls, as the listener's. Nothing is followed that an answer points at: whom the server talks to is its
//! operator's to say.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::{Host, Url};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Why nothing can be asked over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificates cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file has no certificate in PEM that could be trusted.
    #[error("{}: there is no certificate in it that can be trusted (PEM, BEGIN CERTIFICATE)", .0.display())]
    NoCertificate(PathBuf),
    /// There are no certificates to trust.
    #[error(
        "this machine trusts no certificates (ca-certificates is not installed, or SSL_CERT_FILE says another file): {0}"
    )]
    Untrusting(String),
    /// The library refuses.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request is none.
    #[error("it cannot be asked: {0}")]
    Unsendable(#[from] http::Error),
    /// With what is behind it, which the library's own text leaves out.
    #[error("{0}{causes}", causes = causes(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It is too long.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It did not come.
    #[error("there was no answer in time")]
    Late,
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.map(|cause| format!(": {cause}")).collect()
}

/// Makes requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client that trusts the certificates in a file (PEM), or those that this machine trusts. Reads them, so it blocks.
    ///
    /// # Errors
    /// [`ClientError`]: there is nothing to trust.
    pub fn new(trusted: Option<&Path>) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        match trusted {
            Some(path) => {
                let pem = std::fs::read(path);
                let pem = pem.map_err(|source| ClientError::File { path: path.to_owned(), source })?;
                let nothing = || ClientError::NoCertificate(path.to_owned());
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    roots.add(certificate.map_err(|_| nothing())?).map_err(|_| nothing())?;
                }
                if roots.is_empty() {
                    return Err(nothing());
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                    return Err(ClientError::Untrusting(errors.join("; ")));
                }
            }
        }
        Self::trusting(roots)
    }

    /// A client for addresses without TLS: it trusts no certificate.
    ///
    /// # Errors
    /// [`ClientError`]: the library refuses.
    pub fn without_tls() -> Result<Self, ClientError> {
        Self::trusting(RootCertStore::empty())
    }

    fn trusting(roots: RootCertStore) -> Result<Self, ClientError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector.wrap_connector(http));
        Ok(Self(client))
    }

    /// Sends a request; the answer has `most` bytes at most, and is whole `within` a time.
    ///
    /// # Errors
    /// [`ExchangeError`]
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        most: usize,
        within: Duration,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let agent = HeaderValue::from_static(concat!("ninefold/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        let exchange = async {
            let (parts, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| {
                match error.downcast::<LengthLimitError>() {
                    Ok(_) => ExchangeError::TooLong(most),
                    Err(error) => ExchangeError::Broken(error),
                }
            })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(ExchangeError::Late))
    }
}

/// Whether nobody on the way can read or change what is said there: `https`, or this very machine.
pub fn is_private(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_here,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_this_machine_is_talked_to_in_the_clear() {
        for (url, expected) in [
            ("https://idp.example.com/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]/x", true),
            ("http://localhost/x", true),
            ("http://idp.example.com/x", false),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
            ("ftp://127.0.0.1/", false),
            ("file:///x", false),
        ] {
            assert_eq!(is_private(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
