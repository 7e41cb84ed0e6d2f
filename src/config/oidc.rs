//! Identity providers as an operator names them: one by flags, any number in the file.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, wrong};
use crate::oidc::ProviderConfig;

/// The claim that names policies where nothing is said: MinIO's.
const CLAIM: &str = "policy";

/// One `[[oidc]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcEntry {
    /// `https://issuer/.well-known/openid-configuration`
    pub config_url: String,
    /// The clients whose tokens are taken.
    pub client_id: Vec<String>,
    /// The claim that names policies. Default: `policy`.
    pub claim_name: Option<String>,
    /// Policies of everybody whom the provider knows, instead of the claim's.
    #[serde(default)]
    pub role_policy: Vec<String>,
    /// Certificates to trust, PEM. Default: those that the machine trusts.
    pub ca: Option<PathBuf>,
}

/// The providers; `of_flags` has none where it has no address.
pub(super) fn resolve(of_flags: OidcEntry, more: Vec<OidcEntry>) -> Result<Vec<ProviderConfig>, ConfigError> {
    let first = if of_flags.config_url.is_empty() {
        if of_flags != OidcEntry::default() {
            return Err(wrong("oidc_config_url", "what is said of an identity provider needs its address"));
        }
        None
    } else {
        Some(provider("oidc_", of_flags)?)
    };
    let more = more.into_iter().map(|entry| provider("oidc.", entry));
    first.into_iter().map(Ok).chain(more).collect()
}

fn provider(prefix: &str, entry: OidcEntry) -> Result<ProviderConfig, ConfigError> {
    let setting = |name: &str| format!("{prefix}{name}");
    let config_url = entry.config_url.parse().map_err(|error| wrong(&setting("config_url"), error))?;
    if entry.client_id.iter().all(String::is_empty) {
        return Err(wrong(&setting("client_id"), "without a client nobody's tokens are taken"));
    }
    let claim = entry.claim_name.unwrap_or_else(|| CLAIM.to_owned());
    if claim.is_empty() {
        return Err(wrong(&setting("claim_name"), "a claim has a name"));
    }
    Ok(ProviderConfig { config_url, client_ids: entry.client_id, claim, policies: entry.role_policy, ca: entry.ca })
}
