//! A certificate from an authority that speaks ACME (RFC 8555), such as Let's Encrypt: ordered, proved by TLS-ALPN-01 (RFC 8737) on the
//! listener itself, and renewed.
//!
//! What comes of it is a file. It is loaded, served and renewed like any other certificate's, so that nothing else needs to know of ACME.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Identifier,
    NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use tokio::sync::Notify;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::ClientHello;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, ServerConfig};

use super::files::{self, Served, TlsError, TlsFiles};
use crate::access::PrivateFileError;
use crate::access::private_file;
use crate::clock::{Clock, Millis};
use crate::http_client::HttpClient;

/// Let's Encrypt's directory.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What a client that verifies a name offers instead of HTTP.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// How long one exchange with the authority may take, and bytes that it may answer.
const EXCHANGE: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 1 << 20;

/// How long an order may be verified, and a certificate be made.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often it is looked at whether it is time to renew.
const RECHECK: Duration = Duration::from_secs(60 * 60);

/// How long after a failed order the next one is, at first and at most: authorities count failures by the hour.
const RETRY: Duration = Duration::from_secs(60);
const RETRY_MOST: Duration = Duration::from_secs(6 * 60 * 60);

/// A certificate that an authority gives by ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Names that it is for. Each must lead to this server's port 443.
    pub domains: Vec<String>,
    /// Whom the authority writes to.
    pub email: Option<String>,
    /// The authority's directory.
    pub directory: String,
    /// PEM: who signed the certificate of the directory's own server, where it is none of those that this machine trusts.
    pub directory_authorities: Option<PathBuf>,
    /// Where account and certificate are kept.
    pub cache: PathBuf,
}

impl AcmeConfig {
    /// What the authority gave is beside what others gave: a certificate of a test's authority must not be served after the test.
    fn place(&self) -> PathBuf {
        let name = self.directory.strip_prefix("https://").unwrap_or(&self.directory);
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        self.cache.join(name.trim_start_matches('.').chars().map(plain).collect::<String>())
    }
}

/// Why there is no certificate yet.
#[derive(Debug, thiserror::Error)]
enum AcmeError {
    #[error(transparent)]
    Protocol(#[from] instant_acme::Error),
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error("{}: {source}", path.display())]
    Account { path: PathBuf, source: serde_json::Error },
    #[error("the authority does not offer to verify {0} by TLS-ALPN-01")]
    NoChallenge(String),
    #[error("{domain} is {status:?} with the authority")]
    Refused { domain: String, status: AuthorizationStatus },
    #[error("the authority says that the order is {0:?}")]
    Order(OrderStatus),
    #[error("a thread ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Orders certificates, and answers for the names in them.
pub(super) struct Acme {
    config: AcmeConfig,
    account: PathBuf,
    files: TlsFiles,
    https: Https,
    /// There is a new certificate.
    pub(super) renewed: Notify,
    /// What proves now that a name is ours.
    proofs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Acme {
    /// Makes the directory, so it blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file or directory.
    pub(super) fn new(config: AcmeConfig) -> Result<Self, TlsError> {
        let place = config.place();
        let refused = |source| TlsError::Acme { path: place.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(refused)?;
        let certificate = place.join("certificate.pem");
        Ok(Self {
            https: Https(HttpClient::new(config.directory_authorities.as_deref())?),
            account: place.join("account.json"),
            // One file, so that there is no instant at which key and certificate are not each other's.
            files: TlsFiles::new(certificate.clone(), certificate),
            config,
            renewed: Notify::new(),
            proofs: Mutex::default(),
        })
    }

    /// Where the certificate is, if there is one yet.
    pub(super) fn pair(&self) -> Option<TlsFiles> {
        self.files.certificate.exists().then(|| self.files.clone())
    }

    /// What a client is answered with that wants to see whether a name is ours; `None` if it wants something else, or nobody asked for it.
    pub(super) fn proof(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let is_of_acme = hello.alpn()?.eq([PROTOCOL]);
        let name = hello.server_name().filter(|_| is_of_acme)?.to_ascii_lowercase();
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    /// Sees to it that there is a certificate; never returns. [`Acme::renewed`] is told of each new one.
    pub(super) async fn run(&self, clock: &Clock) {
        let mut failures = 0;
        loop {
            let found = self.found().await;
            let wait = match due(found.as_ref(), &self.config.domains, clock.now()) {
                Some(wait) => wait.min(RECHECK),
                None => match self.order().await {
                    Ok(()) => {
                        failures = 0;
                        tracing::info!(domains = self.config.domains.join(", "), "the authority gave a certificate");
                        self.renewed.notify_one();
                        RECHECK
                    }
                    Err(error) => {
                        let wait = RETRY.saturating_mul(1 << failures.min(16)).min(RETRY_MOST);
                        failures += 1;
                        let domains = self.config.domains.join(", ");
                        tracing::error!(%error, domains, retry_in = ?wait, "no certificate by ACME; it is tried again");
                        wait
                    }
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The certificate that is kept; one that cannot be used is none.
    async fn found(&self) -> Option<Served> {
        let files = self.files.clone();
        let read = move || files::served(&files, &files::read_pair(&files).ok()?).ok();
        // That a file is there and no good is said by those who serve it.
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    async fn order(&self) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let identifiers: Vec<_> = self.config.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        // However it ends, nothing is proved to anybody afterwards.
        let _proofs = Proofs(&self.proofs);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let domain = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => return Err(AcmeError::Refused { domain, status }),
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let mut challenge = challenge.ok_or_else(|| AcmeError::NoChallenge(domain.clone()))?;
            let proof = prove(&domain, challenge.key_authorization().digest().as_ref())?;
            self.proofs.lock().unwrap_or_else(PoisonError::into_inner).insert(domain, Arc::new(proof));
            challenge.set_ready().await?;
        }
        let policy = RetryPolicy::new().initial_delay(Duration::from_secs(1)).timeout(PATIENCE);
        match order.poll_ready(&policy).await? {
            OrderStatus::Ready => {}
            status => return Err(AcmeError::Order(status)),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&policy).await?;
        let path = self.files.certificate.clone();
        Ok(tokio::task::spawn_blocking(move || private_file::replace(&path, &format!("{key}{chain}"))).await??)
    }

    /// The account with the authority, made at the first time.
    async fn account(&self) -> Result<Account, AcmeError> {
        let path = self.account.clone();
        let kept = tokio::task::spawn_blocking(move || private_file::read(&path)).await??;
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let unreadable = |source| AcmeError::Account { path: self.account.clone(), source };
        if let Some(kept) = kept {
            let credentials: AccountCredentials = serde_json::from_str(&kept).map_err(unreadable)?;
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = self.config.email.iter().map(|email| format!("mailto:{email}")).collect::<Vec<_>>();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        // Who configures an authority agrees to its terms: the text on the setting says so.
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&wanted, self.config.directory.clone(), None).await?;
        let text = serde_json::to_string(&credentials).map_err(unreadable)?;
        let path = self.account.clone();
        tokio::task::spawn_blocking(move || private_file::create(&path, &text)).await??;
        Ok(account)
    }
}

/// Proofs that are taken back.
struct Proofs<'a>(&'a Mutex<HashMap<String, Arc<ServerConfig>>>);

impl Drop for Proofs<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How long it is until a certificate should be renewed: when a third of its time is left. `None`: now.
fn due(found: Option<&Served>, domains: &[String], now: Millis) -> Option<Duration> {
    let found = found?;
    let has = |domain: &String| found.names.iter().any(|name| name.eq_ignore_ascii_case(domain));
    let lifetime = found.validity.until.saturating_sub(found.validity.from);
    let left = found.validity.until.saturating_sub(lifetime / 3).saturating_sub(now);
    let left = u64::try_from(left).ok().filter(|left| *left > 0 && domains.iter().all(has))?;
    Some(Duration::from_millis(left))
}

/// A certificate of our own that says what the authority wants to hear (RFC 8737, section 3).
fn prove(domain: &str, digest: &[u8]) -> Result<ServerConfig, AcmeError> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not looked at by the library, to which the extension is one that it does not know and that must be understood.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], ring::sign::any_supported_type(&key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// How the library asks the authority: over HTTPS, within bounds of time and memory.
#[derive(Clone)]
struct Https(HttpClient);

impl instant_acme::HttpClient for Https {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // Its directory says where everything else is.
            if parts.uri.scheme() != Some(&Scheme::HTTPS) {
                return Err(instant_acme::Error::Other("the authority names an address without TLS".into()));
            }
            let Ok(body) = body.collect().await;
            let body = Full::new(body.to_bytes());
            let other = |error| instant_acme::Error::Other(Box::new(error));
            let answer =
                client.send(http::Request::from_parts(parts, body), MAX_ANSWER, EXCHANGE).await.map_err(other)?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    const DAY: Millis = 86_400_000;

    fn config(directory: &str) -> AcmeConfig {
        AcmeConfig {
            domains: vec!["a.test".into()],
            email: None,
            directory: directory.into(),
            directory_authorities: None,
            cache: "/cache".into(),
        }
    }

    #[test]
    fn authorities_do_not_share_their_files() {
        let place = |directory: &str| config(directory).place();
        assert_eq!(place(LETS_ENCRYPT), Path::new("/cache/acme-v02.api.letsencrypt.org_directory"));
        assert_eq!(place("https://localhost:14000/../dir"), Path::new("/cache/localhost_14000_.._dir"));
        assert_eq!(place("https://../x"), Path::new("/cache/_x"));
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("certificate.pem");
        let content = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem()).into_bytes();
        let files = TlsFiles::new(path.clone(), path);
        let mut served = files::served(&files, &[content.clone(), content]).unwrap();
        served.validity = files::Validity { from: 0, until: 90 * DAY };
        let domains = ["a.test".to_owned(), "B.test".to_owned()];
        assert_eq!(due(Some(&served), &domains, DAY), Some(Duration::from_secs(59 * 86_400)));
        assert_eq!(due(Some(&served), &domains, 60 * DAY), None);
        assert_eq!(due(Some(&served), &domains, 100 * DAY), None);
        assert_eq!(due(Some(&served), &["c.test".to_owned()], DAY), None, "it is for other names");
        assert_eq!(due(None, &domains, DAY), None);
    }
}
