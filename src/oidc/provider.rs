//! One identity provider: where its keys are, which they are, and how long that is believed.
//!
//! Discovery: "OpenID Connect Discovery 1.0", sections 4.1 to 4.3. Keys are asked for in the background, and in between when a token names one
//! that is not known, so that providers change keys whenever they like. Requests whose key is known wait for nobody.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use super::keys::Keys;
use super::token::{TokenError, Unverified};
use crate::clock::{Clock, Millis};
use crate::http_client::{ClientError, ExchangeError, HttpClient, is_private};

/// What comes behind an issuer where it says how it is.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// How long a provider may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer at most.
const ANSWER: usize = 256 << 10;
/// How often keys are asked for, and how soon again if that failed.
const REFRESH: Duration = Duration::from_secs(15 * 60);
const RETRY: Duration = Duration::from_secs(30);
/// How long keys are believed that could not be asked for again.
const BELIEVED: Millis = 24 * 60 * 60 * 1000;
/// Between two times that requests have keys asked for: whoever makes up tokens is not to have a provider asked for each.
const PAUSE: Millis = 10_000;
/// Requests that may wait for a provider.
const WAITING: usize = 16;

/// How a provider is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// `https://issuer/.well-known/openid-configuration`
    pub config_url: Url,
    /// The clients whose tokens are taken.
    pub client_ids: Vec<String>,
    /// The claim that names policies.
    pub claim: String,
    /// Policies of everybody whom the provider knows, instead of the claim's.
    pub policies: Vec<String>,
    /// Certificates to trust, PEM; `None`: those that the machine trusts.
    pub ca: Option<PathBuf>,
}

/// Why a provider cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its address is no such address.
    #[error(
        "{0}: it must be https (or http to this machine itself), end in {WELL_KNOWN}, and have neither user, query nor fragment"
    )]
    Address(String),
    /// Two have the same address.
    #[error("{0} is there twice")]
    Twice(String),
    /// It can be asked nothing.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a provider's keys are not known.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("{0} answers {1}")]
    Status(Url, StatusCode),
    #[error("{0} does not answer what it should: {1}")]
    Content(Url, &'static str),
    #[error("it was asked a moment ago, or too many wait for it")]
    Later,
}

/// What `openid-configuration` says, as far as it counts here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// What is known of a provider.
#[derive(Debug, Default)]
pub(super) struct Known {
    issuer: String,
    keys: Keys,
    at: Millis,
}

/// One identity provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) config: ProviderConfig,
    /// The issuer without its scheme and without a slash at its end, as AWS names it: `idp.example.com/realms/x`.
    pub(super) name: String,
    client: HttpClient,
    clock: Clock,
    known: RwLock<Option<Arc<Known>>>,
    /// When keys were asked for last; held by who does.
    asked: Mutex<Option<Millis>>,
    waiting: Semaphore,
}

impl Provider {
    /// Reads the certificates to trust, so it blocks.
    pub(super) fn new(config: ProviderConfig, clock: Clock) -> Result<Self, ProviderError> {
        let name = name_of(&config.config_url).ok_or_else(|| ProviderError::Address(config.config_url.to_string()))?;
        let client = match config.config_url.scheme() {
            "http" if config.ca.is_none() => HttpClient::without_tls()?,
            _ => HttpClient::new(config.ca.as_deref())?,
        };
        let (known, asked) = (RwLock::default(), Mutex::default());
        Ok(Self { config, name, client, clock, known, asked, waiting: Semaphore::new(WAITING) })
    }

    /// Whether a token that says it is of this issuer could be of this provider; which it is, [`Self::verify`] says.
    pub(super) fn may_be(&self, issuer: &str) -> bool {
        issuer.trim_end_matches('/') == self.prefix()
    }

    /// The issuer, as far as its address tells: a slash at its end may be missing.
    fn prefix(&self) -> &str {
        let url = self.config.config_url.as_str();
        url.strip_suffix(WELL_KNOWN).unwrap_or(url)
    }

    /// What is believed now.
    pub(super) fn known(&self) -> Option<Arc<Known>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| self.clock.now() - known.at < BELIEVED)
    }

    /// That this provider signed a token, and is its issuer.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<(), TokenError> {
        let known = self.known();
        let mut outcome = known.as_deref().map_or(Err(TokenError::Unreachable), |known| known.verify(token));
        if let Err(TokenError::Key | TokenError::Unreachable) = outcome {
            match self.refresh_after(known.as_deref()).await {
                Ok(known) => outcome = known.verify(token),
                Err(RefreshError::Later) => {}
                Err(error) => {
                    tracing::debug!(provider = self.name, %error, "the keys of an identity provider cannot be read");
                    outcome = Err(TokenError::Unreachable);
                }
            }
        }
        outcome
    }

    /// What is known once it is asked for again, unless it was since `before`.
    async fn refresh_after(&self, before: Option<&Known>) -> Result<Arc<Known>, RefreshError> {
        let _place = self.waiting.try_acquire().map_err(|_| RefreshError::Later)?;
        let mut asked = self.asked.lock().await;
        // Somebody else had it asked for meanwhile.
        if let Some(known) = self.known().filter(|known| before.is_none_or(|before| known.at > before.at)) {
            return Ok(known);
        }
        let now = self.clock.now();
        if asked.is_some_and(|last| (0..PAUSE).contains(&(now - last))) {
            return Err(RefreshError::Later);
        }
        *asked = Some(now);
        let known = self.ask().await?;
        drop(asked);
        Ok(known)
    }

    /// Asks for keys, whatever is known.
    async fn refresh(&self) -> Result<usize, RefreshError> {
        let mut asked = self.asked.lock().await;
        *asked = Some(self.clock.now());
        Ok(self.ask().await?.keys.len())
    }

    async fn ask(&self) -> Result<Arc<Known>, RefreshError> {
        // Before: what is asked for may be older than its answer.
        let at = self.clock.now();
        let url = &self.config.config_url;
        let wrong = |url: &Url, what| RefreshError::Content(url.clone(), what);
        let said: Discovery = serde_json::from_slice(&self.get(url).await?)
            .map_err(|_| wrong(url, "it is no JSON with issuer and jwks_uri"))?;
        if !self.may_be(&said.issuer) {
            return Err(wrong(url, "its issuer is not the one that it was asked for"));
        }
        let of_keys = Url::parse(&said.jwks_uri).ok().filter(is_private);
        let of_keys = of_keys.ok_or_else(|| wrong(url, "its jwks_uri is not https"))?;
        let keys = Keys::read(&self.get(&of_keys).await?);
        let keys = keys.ok_or_else(|| wrong(&of_keys, "it is no set of keys"))?;
        let known = Arc::new(Known { issuer: said.issuer, keys, at });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        Ok(known)
    }

    async fn get(&self, url: &Url) -> Result<Bytes, RefreshError> {
        let request = Request::get(url.as_str()).header(http::header::ACCEPT, "application/json");
        let request = request.body(Full::default()).map_err(ExchangeError::from)?;
        let response = self.client.send(request, ANSWER, PATIENCE).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(RefreshError::Status(url.clone(), status)),
        }
    }

    /// Keeps the keys new; never returns.
    pub(super) async fn follow(&self) {
        let mut failing = false;
        loop {
            let outcome = self.refresh().await;
            match &outcome {
                Ok(keys) if failing => tracing::info!(provider = self.name, keys, "an identity provider answers again"),
                Ok(keys) => tracing::debug!(provider = self.name, keys, "the keys of an identity provider were read"),
                // Once, not every time.
                Err(error) if !failing => {
                    tracing::warn!(provider = self.name, %error, "the keys of an identity provider cannot be read");
                }
                Err(_) => {}
            }
            failing = outcome.is_err();
            tokio::time::sleep(if failing { RETRY } else { REFRESH }).await;
        }
    }
}

impl Known {
    fn verify(&self, token: &Unverified<'_>) -> Result<(), TokenError> {
        if token.claims.text("iss")? != self.issuer {
            return Err(token.claims.stranger());
        }
        let key = self.keys.find(token.key.as_deref(), token.algorithm)?;
        let has_signed = key.has_signed(token.algorithm, token.message.as_bytes(), &token.signature);
        if has_signed { Ok(()) } else { Err(TokenError::Signature) }
    }
}

/// What AWS calls the provider whose configuration is at an address; `None` if it can be none.
pub(super) fn name_of(config_url: &Url) -> Option<String> {
    let plain = config_url.username().is_empty() && config_url.password().is_none();
    let plain = plain && config_url.query().is_none() && config_url.fragment().is_none();
    let issuer = config_url.as_str().strip_suffix(WELL_KNOWN).filter(|_| plain && is_private(config_url))?;
    let (_, name) = issuer.split_once("://")?;
    Some(name.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_provider_is_called_as_its_issuer_is() {
        for (url, expected) in [
            ("https://idp.example.com/.well-known/openid-configuration", Some("idp.example.com")),
            ("https://IDP.example.com/realms/x/.well-known/openid-configuration", Some("idp.example.com/realms/x")),
            ("http://127.0.0.1:8080/r/.well-known/openid-configuration", Some("127.0.0.1:8080/r")),
            ("http://idp.example.com/.well-known/openid-configuration", None),
            ("https://idp.example.com/", None),
            ("https://user@idp.example.com/.well-known/openid-configuration", None),
            ("https://idp.example.com/.well-known/openid-configuration?x=1", None),
        ] {
            assert_eq!(name_of(&url.parse().unwrap()).as_deref(), expected, "{url}");
        }
    }
}
