//! How HTTPS is served, by the settings.

use std::path::Path;

use super::{ConfigError, Settings, wrong};
use crate::s3::host::is_domain;
use crate::server::{AcmeConfig, ClientAuth, ClientCertificates, LETS_ENCRYPT, TlsConfig, TlsFiles};

/// `None` where there is no certificate, and so plain HTTP.
///
/// # Errors
/// [`ConfigError`] names the setting that is wrong.
pub(super) fn resolve(settings: &Settings, data: &Path) -> Result<Option<TlsConfig>, ConfigError> {
    let pairs = pairs(settings)?;
    let acme = acme(settings, data)?;
    let clients = clients(settings)?;
    if pairs.is_empty() && settings.tls_dir.is_none() && acme.is_none() {
        // Who asks for any of this means HTTPS.
        let needs = "it needs a certificate: tls_cert and tls_key, tls_dir, or acme_domain";
        return match (clients, settings.tls_min_version) {
            (Some(_), _) => Err(wrong("tls_client_ca", needs)),
            (None, Some(_)) => Err(wrong("tls_min_version", needs)),
            (None, None) => Ok(None),
        };
    }
    Ok(Some(TlsConfig {
        pairs,
        directory: settings.tls_dir.clone(),
        acme,
        clients,
        oldest: settings.tls_min_version.unwrap_or_default(),
        ..TlsConfig::default()
    }))
}

fn pairs(settings: &Settings) -> Result<Vec<TlsFiles>, ConfigError> {
    let (certificates, keys) = (&settings.tls_cert, &settings.tls_key);
    match (certificates.len(), keys.len()) {
        (all, same) if all == same => {}
        (_, 0) => return Err(wrong("tls_cert", "it needs tls_key as well")),
        (0, _) => return Err(wrong("tls_key", "it needs tls_cert as well")),
        (certificates, keys) => {
            return Err(wrong("tls_key", format!("there are {keys} keys for {certificates} certificates")));
        }
    }
    Ok(certificates.iter().cloned().zip(keys.iter().cloned()).map(|(cert, key)| TlsFiles::new(cert, key)).collect())
}

fn clients(settings: &Settings) -> Result<Option<ClientAuth>, ConfigError> {
    let needs = "it needs tls_client_ca as well";
    match &settings.tls_client_ca {
        Some(authorities) => Ok(Some(ClientAuth {
            authorities: authorities.clone(),
            revocations: settings.tls_client_crl.clone(),
            certificates: settings.tls_client_auth.unwrap_or(ClientCertificates::Required),
        })),
        None if settings.tls_client_auth.is_some() => Err(wrong("tls_client_auth", needs)),
        None if settings.tls_client_crl.is_some() => Err(wrong("tls_client_crl", needs)),
        None => Ok(None),
    }
}

fn acme(settings: &Settings, data: &Path) -> Result<Option<AcmeConfig>, ConfigError> {
    if settings.acme_domain.is_empty() {
        let given = [
            ("acme_email", settings.acme_email.is_some()),
            ("acme_directory", settings.acme_directory.is_some()),
            ("acme_directory_ca", settings.acme_directory_ca.is_some()),
            ("acme_cache", settings.acme_cache.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(wrong(name, "it needs acme_domain as well")),
            None => Ok(None),
        };
    }
    if let Some(name) = settings.acme_domain.iter().find(|name| name.starts_with("*.")) {
        let reason =
            format!("{name:?} takes a proof by DNS, which is not built; get it with another client and use tls_cert");
        return Err(wrong("acme_domain", reason));
    }
    if let Some(name) = settings.acme_domain.iter().find(|name| !is_domain(name)) {
        return Err(wrong("acme_domain", format!("{name:?} is not a domain")));
    }
    let directory = settings.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned());
    if !directory.starts_with("https://") {
        return Err(wrong("acme_directory", "it must start with https://"));
    }
    if let Some(email) = settings.acme_email.as_ref().filter(|email| !email.contains('@')) {
        return Err(wrong("acme_email", format!("{email:?} is no address")));
    }
    Ok(Some(AcmeConfig {
        domains: settings.acme_domain.iter().map(|name| name.to_ascii_lowercase()).collect(),
        email: settings.acme_email.clone(),
        directory,
        directory_authorities: settings.acme_directory_ca.clone(),
        cache: settings.acme_cache.clone().unwrap_or_else(|| data.join("acme")),
    }))
}
