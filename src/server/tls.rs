//! TLS: the certificate and key of the listener, and their replacement while it runs.
//!
//! The protocol is rustls's (TLS 1.2 and 1.3, its own choice of cipher suites, on `ring`). Which HTTP is spoken is agreed by ALPN
//! (RFC 7301), with the names that RFC 9113 and RFC 7301 register.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, StreamOwned,
};

use super::OverTls;

/// How often the files are looked at. A renewed certificate need not be served within the second, and nobody feels two small reads.
const RECHECK: Duration = Duration::from_secs(5);

/// A chain of certificates has a few KiB; a file longer than this is something else.
const MAX_FILE: u64 = 1 << 20;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then those that lead from it to one that clients trust.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key, as PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// How often to look whether they have changed.
    pub recheck: Duration,
}

impl TlsFiles {
    /// These files, looked at every few seconds.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, recheck: RECHECK }
    }
}

/// Why TLS cannot be served with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file holds no certificate in PEM.
    #[error("{}: there is no certificate in it (PEM, BEGIN CERTIFICATE)", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key in PEM.
    #[error("{}: there is no private key in it (PEM, BEGIN PRIVATE KEY)", .0.display())]
    NoKey(PathBuf),
    /// The key is another certificate's.
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The library refuses certificate or key.
    #[error("{} and its key cannot be used: {source}", certificate.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The library's reason.
        source: rustls::Error,
    },
}

/// The two files as they were read.
#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What connections are accepted with. Clients that are connected keep what they have; new ones get the newest.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// What [`Tls::current`] was made of, or what was refused since: each content is tried once.
    tried: Mutex<Content>,
    /// Held by the listener that follows the files. Others with the same certificate need not look, too.
    following: tokio::sync::Mutex<()>,
}

impl Tls {
    /// Reads the files, so it blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let content = read(&files)?;
        let config = configure(&files, &content)?;
        Ok(Self {
            files,
            current: RwLock::new(Arc::new(config)),
            tried: Mutex::new(content),
            following: tokio::sync::Mutex::default(),
        })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks at the files again and again; never returns.
    pub(super) async fn follow(self: Arc<Self>) {
        let _following = self.following.lock().await;
        let mut unreadable = None;
        loop {
            tokio::time::sleep(self.files.recheck).await;
            let this = Arc::clone(&self);
            // Whoever looks sleeps in between, so that slow file systems are asked once at a time.
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Ok(true)) => {
                    unreadable = None;
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was loaded again");
                }
                Ok(Ok(false)) => unreadable = None,
                Ok(Err(error)) => {
                    // Once, not every time it is looked at.
                    let text = error.to_string();
                    if unreadable.as_ref() != Some(&text) {
                        tracing::error!(error = text, "a changed certificate cannot be used; the one before is kept");
                        unreadable = Some(text);
                    }
                }
                Err(error) => tracing::error!(%error, "certificates could not be looked at"),
            }
        }
    }

    /// Whether there was something new. What cannot be used is refused once and changes nothing.
    fn reload(&self) -> Result<bool, TlsError> {
        let content = read(&self.files)?;
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == content {
            return Ok(false);
        }
        let config = configure(&self.files, &content);
        *tried = content;
        drop(tried);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config?);
        Ok(true)
    }
}

fn read(files: &TlsFiles) -> Result<Content, TlsError> {
    Ok(Content { certificate: read_file(&files.certificate)?, key: read_file(&files.key)? })
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_whole(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    // NONBLOCK: a FIFO of that name is nothing to wait for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut content = Vec::new();
    if file.take(MAX_FILE + 1).read_to_end(&mut content)? as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a certificate or key"));
    }
    Ok(content)
}

fn configure(files: &TlsFiles, content: &Content) -> Result<ServerConfig, TlsError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let chain = chain(certificate, &content.certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&content.key).map_err(|_| TlsError::NoKey(key.clone()))?;
    let refused = |source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() },
        source => TlsError::Unusable { certificate: certificate.clone(), source },
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What was agreed on, as access logs say it.
pub(super) fn agreed(connection: &rustls::ServerConnection) -> OverTls {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    OverTls { version, cipher: suite.map_or_else(|| "-".into(), |name| openssl_name(name).into()) }
}

/// What OpenSSL, and so AWS's access logs, call a cipher suite of rustls's.
fn openssl_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is ECDHE-RSA-AES128-GCM-SHA256.
    let name = name.strip_prefix("TLS_").unwrap_or(name).replace("_WITH_", "_").replace("AES_", "AES");
    let name = name.strip_suffix("POLY1305_SHA256").map_or(name.clone(), |start| format!("{start}POLY1305"));
    name.replace('_', "-")
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

/// The client's side for those who have the server's certificate: they accept this one, whatever names are in it and whoever
/// signed it, and no other.
#[derive(Debug, Clone)]
pub struct PinnedCertificate(Arc<ClientConfig>);

impl PinnedCertificate {
    /// Reads the file that the server was given, so it blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let certificate = chain(path, &read_file(path)?)?.swap_remove(0);
        let provider = Arc::new(ring::default_provider());
        let verifier = Pinned { certificate, provider: Arc::clone(&provider) };
        let unusable = |source| TlsError::Unusable { certificate: path.to_owned(), source };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Encrypts a connection to a server, whose handshake is made with the first bytes.
    ///
    /// # Errors
    /// The library refuses.
    pub fn stream(&self, stream: TcpStream, to: IpAddr) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let connection = ClientConnection::new(Arc::clone(&self.0), ServerName::from(to)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
    }

    // That the server has the certificate's key is proved here, as ever.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::openssl_name;

    #[test]
    fn cipher_suites_are_called_as_openssl_calls_them() {
        for (name, expected) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS13_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl_name(name), expected);
        }
    }
}
