//! Certificates that clients show.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConnection};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::files::{self, TlsError};
use crate::clock::Millis;

/// Whether clients must show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Who shows none has no connection.
    Required,
    /// Who shows one must show a good one.
    Optional,
}

impl FromStr for ClientCertificates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(format!("{text:?} is neither required nor optional")),
        }
    }
}

/// Which certificates of clients are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM: certificates of the authorities that sign them.
    pub authorities: PathBuf,
    /// PEM: lists of what the authorities revoked, one of each authority that a chain goes through.
    pub revocations: Option<PathBuf>,
    /// Whether there must be one.
    pub certificates: ClientCertificates,
}

/// The certificate that a client showed and has the key of, verified, in the extensions of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: Arc<str>,
    /// The last common name (CN) of its subject, if it has one.
    pub common_name: Option<Arc<str>>,
}

impl ClientCertificate {
    /// The one that was shown on a connection whose handshake is done.
    pub(super) fn of(connection: &ServerConnection) -> Option<Self> {
        connection.peer_certificates()?.first().map(Self::from)
    }
}

impl From<&CertificateDer<'_>> for ClientCertificate {
    fn from(der: &CertificateDer<'_>) -> Self {
        let parsed = X509Certificate::from_der(der).ok();
        let common_name = parsed.as_ref().and_then(|(_, certificate)| {
            let name = certificate.subject().iter_common_name().last()?;
            Some(name.as_str().ok()?.into())
        });
        Self { fingerprint: hex::encode(Sha256::digest(der)).into(), common_name }
    }
}

/// What verifies clients.
#[derive(Debug)]
pub(super) struct Verifying {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of the lists of revoked certificates is out of date; from then on nobody's certificate is good.
    pub(super) lists_until: Option<Millis>,
}

/// What is in the file of authorities, and in that of lists.
pub(super) fn read(auth: &ClientAuth) -> Result<files::Content, TlsError> {
    let lists = auth.revocations.as_deref().map(files::read).transpose()?;
    Ok([files::read(&auth.authorities)?, lists.unwrap_or_default()])
}

pub(super) fn verifying(auth: &ClientAuth, content: &files::Content) -> Result<Verifying, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in files::chain(&auth.authorities, &content[0])? {
        let unusable = |source| TlsError::Unusable { certificate: auth.authorities.clone(), source };
        roots.add(authority).map_err(unusable)?;
    }
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let mut lists_until = None;
    if let Some(path) = &auth.revocations {
        let lists = files::revocations(path, &content[1])?;
        for list in &lists {
            let unreadable = |error| TlsError::Unreadable { path: path.clone(), reason: format!("{error}") };
            let (_, list) = CertificateRevocationList::from_der(list).map_err(unreadable)?;
            let until = list.next_update().map(|time| time.timestamp().saturating_mul(1000));
            lists_until = [lists_until, until].into_iter().flatten().min();
        }
        // An old list would let in who was revoked since, so it lets in nobody, as with nginx and OpenSSL.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if auth.certificates == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    let refused = |source| match (source, &auth.revocations) {
        (VerifierBuilderError::InvalidCrl(error), Some(path)) => {
            TlsError::Unreadable { path: path.clone(), reason: format!("{error:?}") }
        }
        (source, _) => TlsError::Clients { path: auth.authorities.clone(), source },
    };
    Ok(Verifying { verifier: builder.build().map_err(refused)?, lists_until })
}
