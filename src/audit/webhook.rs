//! Records posted to an address.
//!
//! A request has many lines, one JSON object each (`application/x-ndjson`), as MinIO's has where it sends batches; one that says nothing else is
//! a line alone, as MinIO sends by default. Whatever a server answers with 2xx it has taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::Url;

use super::queue::{Next, Queue};
use super::{PAUSE, TRIED};
use crate::access::Secret;

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one try may take, with connecting and the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWERED: usize = 64 << 10;

/// Why a webhook cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address is none that HTTP has.
    #[error("it is no address: {0}")]
    Address(#[from] http::uri::InvalidUri),
    /// The token is none that a header can have.
    #[error("the token cannot be sent in a header")]
    Token,
    /// There are no certificates to trust.
    #[error(
        "this machine trusts no certificates (ca-certificates is not installed, or SSL_CERT_FILE says another file): {0}"
    )]
    Untrusting(String),
    /// The library refuses.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the address or the token cannot be sent: {0}")]
    Unsendable(#[from] http::Error),
    /// With what is behind it, which the library's own text leaves out.
    #[error("{0}{causes}", causes = causes(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("there was no answer in time")]
    Late,
    #[error("it answers {0}")]
    Status(StatusCode),
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.map(|cause| format!(": {cause}")).collect()
}

/// An address that records are posted to.
pub(super) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Webhook {
    /// Reads the certificates that this machine trusts, so it blocks.
    pub(super) fn new(url: &Url, token: Option<&Secret>) -> Result<Self, WebhookError> {
        let mut roots = RootCertStore::empty();
        if url.scheme() == "https" {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(WebhookError::Untrusting(errors.join("; ")));
            }
        }
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
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector.wrap_connector(http));
        let authorization = token.map(authorization).transpose()?;
        Ok(Self { client, uri: url.as_str().parse()?, authorization })
    }

    /// Posts until the queue ends.
    pub(super) async fn run(self, queue: &Queue) {
        loop {
            match queue.next().await {
                Next::End => return,
                Next::Reopen => {}
                Next::Write(batch) => {
                    if self.deliver(batch.text().into(), queue).await {
                        queue.written(&batch);
                    } else {
                        queue.lost(&batch);
                        // Nothing more can be told where nothing is taken.
                        if queue.is_closed() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Posts a batch, again and again if it must be; answers whether it was taken in the end.
    async fn deliver(&self, body: Bytes, queue: &Queue) -> bool {
        let (began, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let Err(error) = self.post(body.clone()).await else { return true };
            tracing::warn!(target_id = queue.target(), %error, "a webhook has not taken records of the audit log");
            if queue.is_closed() || began.elapsed() + pause > TRIED {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Refused> {
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .header(header::USER_AGENT, concat!("ninefold/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            // Whatever it says: its connection can be used again if it is short.
            let _ = Limited::new(response.into_body(), ANSWERED).collect().await;
            if status.is_success() { Ok(()) } else { Err(Refused::Status(status)) }
        };
        tokio::time::timeout(ANSWER, exchange).await.unwrap_or(Err(Refused::Late))
    }
}

/// As MinIO has it: a bearer's token, unless it says itself what it is.
fn authorization(token: &Secret) -> Result<HeaderValue, WebhookError> {
    let token = token.expose().trim();
    let text = if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") };
    let mut value = HeaderValue::try_from(text).map_err(|_| WebhookError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_is_a_bearer_s_unless_it_says_otherwise() {
        for (token, expected) in [("hush", "Bearer hush"), (" hush\n", "Bearer hush"), ("Splunk hush", "Splunk hush")] {
            let value = authorization(&Secret::new(token)).unwrap();
            assert_eq!(value.to_str().unwrap(), expected);
            assert!(!format!("{value:?}").contains("hush"));
        }
        assert!(authorization(&Secret::new("a\nb")).is_err());
    }
}
