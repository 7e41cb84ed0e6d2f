//! Records posted to an address.
//!
//! A request has many lines, one JSON object each (`application/x-ndjson`), as MinIO's has where it sends batches; one that says nothing else is
//! a line alone, as MinIO sends by default. Whatever a server answers with 2xx it has taken.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::time::Instant;
use url::Url;

use super::PAUSE;
use super::queue::{Next, Queue};
use crate::access::Secret;
use crate::http_client::{ClientError, ExchangeError, HttpClient};

/// How long one try may take, with connecting and the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a batch is tried again that is refused for what it is, before it is given up.
const TRIED: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const ANSWERED: usize = 1 << 20;

/// Why a webhook cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address is none that HTTP has.
    #[error("it is no address: {0}")]
    Address(#[from] http::uri::InvalidUri),
    /// The token is none that a header can have.
    #[error("the token cannot be sent in a header")]
    Token,
    /// There are no certificates to trust, or none can be.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the address or the token cannot be sent: {0}")]
    Unsendable(#[from] http::Error),
    #[error(transparent)]
    Unanswered(#[from] ExchangeError),
    #[error("it answers {0}")]
    Status(StatusCode),
}

impl Refused {
    /// Whether it is the batch that is wrong, and not the way there, the server, or our leave to post.
    fn is_of_batch(&self) -> bool {
        const ELSE: [StatusCode; 5] = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        matches!(self, Self::Status(status) if status.is_client_error() && !ELSE.contains(status))
    }
}

/// An address that records are posted to.
pub(super) struct Webhook {
    client: HttpClient,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Webhook {
    /// Reads the certificates that this machine trusts, so it blocks.
    pub(super) fn new(url: &Url, token: Option<&Secret>) -> Result<Self, WebhookError> {
        let client = if url.scheme() == "https" { HttpClient::new(None)? } else { HttpClient::without_tls()? };
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
                    } else if queue.is_closed() {
                        // What is held by then is told as that by whoever closes.
                        return;
                    } else {
                        queue.lost(&batch);
                    }
                }
            }
        }
    }

    /// Posts a batch, again and again if it must be; answers whether it was taken in the end. Meanwhile there is room in the queue.
    async fn deliver(&self, body: Bytes, queue: &Queue) -> bool {
        let (began, mut pause, mut is_late) = (Instant::now(), PAUSE.0, false);
        loop {
            let Err(error) = self.post(body.clone()).await else {
                if is_late {
                    tracing::info!(target_id = queue.target(), "the webhook takes records of the audit log again");
                }
                return true;
            };
            if is_late {
                tracing::debug!(target_id = queue.target(), %error, "the webhook still takes none");
            } else {
                tracing::warn!(target_id = queue.target(), %error, "a webhook has not taken records of the audit log");
            }
            is_late = true;
            if queue.is_closed() || (error.is_of_batch() && began.elapsed() + pause > TRIED) {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Refused> {
        let mut request = Request::post(self.uri.clone()).header(header::CONTENT_TYPE, "application/x-ndjson");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let status = self.client.send(request.body(Full::new(body))?, ANSWERED, ANSWER).await?.status();
        if status.is_success() { Ok(()) } else { Err(Refused::Status(status)) }
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
    fn only_what_is_wrong_with_a_batch_gives_it_up() {
        for (status, is_of_batch) in [
            (400, true),
            (413, true),
            (401, false),
            (403, false),
            (404, false),
            (429, false),
            (302, false),
            (503, false),
        ] {
            let refused = Refused::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!(refused.is_of_batch(), is_of_batch, "{status}");
        }
        assert!(!Refused::Unanswered(ExchangeError::Late).is_of_batch());
    }

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
