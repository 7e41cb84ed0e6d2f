//! OpenID Connect: who somebody is, by a token that an identity provider signed.
//!
//! Source: "OpenID Connect Core 1.0", section 3.1.3.7, and RFC 7519. A token counts if a configured provider is its issuer and signed it
//! with a key that it publishes, if it is for one of the provider's clients, and at this time. Nobody keeps it: what it says of somebody, as
//! far as policies may be about it, becomes part of the session that he gets for it.

mod keys;
mod provider;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

pub use provider::{ProviderConfig, ProviderError};
pub use token::TokenError;

use crate::access::Federation;
use crate::clock::{Clock, Millis};
use provider::Provider;
use token::{Claims, Unverified};

/// How far the clocks of providers may be from this one's.
const LEEWAY: Millis = 60_000;
/// Characters of a subject at most, as AWS has it.
const SUBJECT: usize = 255;
/// Bytes of all claims that are kept at most: they go with every request, in its session's token.
const KEPT: usize = 4096;
/// The claims that policies may be about: those that MinIO has variables for, and AWS condition keys.
const CLAIMS: [&str; 26] = [
    "acr",
    "address",
    "amr",
    "azp",
    "birthdate",
    "client_id",
    "email",
    "email_verified",
    "family_name",
    "gender",
    "given_name",
    "groups",
    "iss",
    "jti",
    "middle_name",
    "name",
    "nickname",
    "phone_number",
    "picture",
    "preferred_username",
    "profile",
    "roles",
    "scope",
    "sub",
    "upn",
    "website",
];

/// Who somebody is, as a provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The provider, as AWS names it: its issuer without `https://`.
    pub provider: String,
    /// The issuer.
    pub issuer: String,
    /// Who it is, to the provider.
    pub subject: String,
    /// The client that the token is for.
    pub audience: String,
    /// When the token ends.
    pub ends: Millis,
    /// The policies that he is to have where he takes no role, by their names.
    pub policies: Vec<String>,
    /// What policies may be about.
    claims: BTreeMap<String, Vec<String>>,
}

impl WebIdentity {
    /// The same, as an account's policies see it.
    pub fn federation(&self, account: &str) -> Federation {
        Federation {
            provider: provider_arn(account, &self.provider),
            names: vec![self.provider.clone(), "jwt".to_owned()],
            claims: self.claims.clone(),
        }
    }
}

/// The Amazon Resource Name of a provider.
pub fn provider_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{name}")
}

/// All identity providers that are configured. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Oidc {
    providers: Arc<[Provider]>,
    clock: Clock,
}

impl Default for Oidc {
    fn default() -> Self {
        Self { providers: [].into(), clock: Clock::system() }
    }
}

impl Oidc {
    /// These providers. Reads the certificates to trust, so it blocks.
    ///
    /// # Errors
    /// [`ProviderError`] names the provider.
    pub fn new(configs: Vec<ProviderConfig>, clock: Clock) -> Result<Self, ProviderError> {
        let mut providers: Vec<Provider> = Vec::new();
        for config in configs {
            let provider = Provider::new(config, clock.clone())?;
            if providers.iter().any(|other| other.name == provider.name) {
                return Err(ProviderError::Twice(provider.config.config_url.to_string()));
            }
            providers.push(provider);
        }
        Ok(Self { providers: providers.into(), clock })
    }

    /// Keeps the providers' keys new until it is told to stop.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = async { _ = stop.wait_for(|stop| *stop).await } => {}
            _ = join_all(self.providers.iter().map(Provider::follow)), if !self.providers.is_empty() => {}
        }
    }

    /// The providers, by name, with the clients whose tokens are taken.
    pub fn providers(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.providers.iter().map(|provider| (&*provider.name, &*provider.config.client_ids))
    }

    /// Who somebody is.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn verify(&self, token: &str) -> Result<WebIdentity, TokenError> {
        let token = Unverified::parse(token)?;
        let issuer = token.claims.text("iss")?;
        let provider = self.providers.iter().find(|provider| provider.may_be(issuer));
        let provider = provider.ok_or_else(|| token.claims.stranger())?;
        // What needs no key comes first, so that nobody's keys are asked for in vain; it counts once the signature does.
        let identity = read(&token.claims, provider, self.clock.now())?;
        provider.verify(&token).await?;
        Ok(identity)
    }
}

/// What a token says, at a time.
fn read(claims: &Claims, provider: &Provider, now: Millis) -> Result<WebIdentity, TokenError> {
    let config = &provider.config;
    let subject = claims.text("sub")?;
    if subject.chars().count() > SUBJECT {
        return Err(TokenError::Claim("sub"));
    }
    let ends = claims.moment("exp")?.ok_or(TokenError::Claim("exp"))?;
    let begins = claims.moment("nbf")?.max(claims.moment("iat")?);
    let audiences = claims.texts("aud")?;
    let is_client = |id: &&str| config.client_ids.iter().any(|own| own == id);
    // A token may be for another's resources and by one of the clients, which `azp` is then.
    let audience = audiences.iter().copied().find(is_client);
    let audience = match audience {
        Some(audience) => audience,
        None => claims.optional_text("azp")?.filter(is_client).ok_or(TokenError::Audience)?,
    };
    if begins.is_some_and(|begins| begins > now + LEEWAY) {
        return Err(TokenError::Early);
    }
    let kept = CLAIMS.iter().map(|name| ((*name).to_owned(), claims.values(name)));
    let mut kept: BTreeMap<String, Vec<String>> = kept.filter(|(_, values)| !values.is_empty()).collect();
    kept.insert("aud".to_owned(), vec![audience.to_owned()]);
    kept.insert("oaud".to_owned(), audiences.into_iter().map(str::to_owned).collect());
    let length = |(name, values): (&String, &Vec<String>)| name.len() + values.iter().map(String::len).sum::<usize>();
    if kept.iter().map(length).sum::<usize>() > KEPT {
        // To leave something out would let policies that deny go by without it.
        return Err(TokenError::TooMuch(KEPT));
    }
    if ends + LEEWAY <= now {
        return Err(TokenError::Expired);
    }
    let policies = if config.policies.is_empty() { claims.names(&config.claim) } else { config.policies.clone() };
    Ok(WebIdentity {
        provider: provider.name.clone(),
        issuer: claims.text("iss")?.to_owned(),
        subject: subject.to_owned(),
        audience: audience.to_owned(),
        ends,
        policies,
        claims: kept,
    })
}
