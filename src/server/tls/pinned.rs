//! The client's side, for `ninefold health`.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::files::{self, TlsError, TlsFiles};

/// The client's side for those who have the server's certificate: they accept this one, whatever names are in it and whoever
/// signed it, and no other.
#[derive(Debug, Clone)]
pub struct PinnedCertificate(Arc<ClientConfig>);

impl PinnedCertificate {
    /// Reads the file that the server was given, and with `shown` the certificate to show to a server that wants one; so it blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(path: &Path, shown: Option<&TlsFiles>) -> Result<Self, TlsError> {
        let certificate = files::chain(path, &files::read(path)?)?.swap_remove(0);
        let provider = Arc::new(ring::default_provider());
        let verifier = Pinned { certificate, provider: Arc::clone(&provider) };
        let unusable = |source| TlsError::Unusable { certificate: path.to_owned(), source };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(TlsFiles { certificate, key }) => {
                let chain = files::chain(certificate, &files::read(certificate)?)?;
                let private = files::private_key(key, &files::read(key)?)?;
                let unusable = |source| TlsError::Unusable { certificate: certificate.clone(), source };
                builder.with_client_auth_cert(chain, private).map_err(unusable)?
            }
        };
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
