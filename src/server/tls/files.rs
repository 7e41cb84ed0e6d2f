//! Files of certificates and keys: which there are, what is in them, and what is wrong with them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::VerifierBuilderError;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Millis;
use crate::http_client::ClientError;

/// A chain of certificates has a few KiB; a file longer than this is something else. Lists of revoked certificates can be long.
const MAX_FILE: u64 = 8 << 20;

/// Pairs of a directory at most.
const MAX_PAIRS: usize = 1000;

/// What certificate and key are called in a directory, as MinIO calls them.
const CERTIFICATE: &str = "public.crt";
const KEY: &str = "private.key";

/// Where MinIO has the certificates of authorities that it trusts as a client.
const AUTHORITIES: &str = "CAs";

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that lead from it to one that the other side trusts.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key, as PKCS #8, PKCS #1 or SEC 1. It may be the same file.
    pub key: PathBuf,
}

impl TlsFiles {
    /// These files.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key }
    }

    /// Those of a directory, under the names that MinIO has for them.
    pub fn within(directory: &Path) -> Self {
        Self::new(directory.join(CERTIFICATE), directory.join(KEY))
    }

    fn any_exists(&self) -> bool {
        self.certificate.exists() || self.key.exists()
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
    /// The directory holds no certificate.
    #[error("{}: there is no {CERTIFICATE} and no {KEY} in it, nor in a directory below it", .0.display())]
    NoPair(PathBuf),
    /// The directory holds more than anybody serves.
    #[error("{}: there are more than {MAX_PAIRS} certificates in it", .0.display())]
    TooMany(PathBuf),
    /// The file holds no certificate in PEM.
    #[error("{}: there is no certificate in it (PEM, BEGIN CERTIFICATE)", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key in PEM.
    #[error("{}: there is no private key in it (PEM, BEGIN PRIVATE KEY)", .0.display())]
    NoKey(PathBuf),
    /// The private key is sealed with a passphrase, and a server that starts by itself has nobody to ask for it.
    #[error("{}: the private key is encrypted; decrypt it (openssl pkey -in OLD -out NEW) and keep the file private", .0.display())]
    EncryptedKey(PathBuf),
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
    /// The certificate cannot be read.
    #[error("{}: the certificate cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no list of revoked certificates in PEM.
    #[error("{}: there is no list of revoked certificates in it (PEM, BEGIN X509 CRL)", .0.display())]
    NoRevocations(PathBuf),
    /// Clients cannot be held to these authorities and lists.
    #[error("clients' certificates cannot be verified by {}: {source}", path.display())]
    Clients {
        /// The file of authorities.
        path: PathBuf,
        /// The library's reason.
        source: VerifierBuilderError,
    },
    /// The library refuses to be set up.
    #[error("{0}")]
    Library(#[from] rustls::Error),
    /// An authority cannot be asked.
    #[error("ACME: {0}")]
    Client(#[from] ClientError),
    /// What is needed for certificates by ACME cannot be had.
    #[error("ACME: cannot use {}: {source}", path.display())]
    Acme {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A certificate that can be served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    /// Names in it, in lower case; a first label `*` stands for any.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
}

/// From when to when something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Millis,
    pub(super) until: Millis,
}

/// What is in a certificate and in its key.
pub(super) type Content = [Vec<u8>; 2];

/// Pairs of a directory: its own, then those of the directories below it, by name.
///
/// # Errors
/// [`TlsError`] names the directory.
pub(super) fn pairs(directory: &Path) -> Result<Vec<TlsFiles>, TlsError> {
    let unreadable = |source| TlsError::File { path: directory.to_owned(), source };
    let mut below = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        // What begins with a dot is how Kubernetes keeps the files that those in sight are links to.
        if name == AUTHORITIES || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let pair = TlsFiles::within(&directory.join(name));
        if pair.any_exists() {
            below.push(pair);
        }
        if below.len() >= MAX_PAIRS {
            return Err(TlsError::TooMany(directory.to_owned()));
        }
    }
    below.sort_by(|a, b| a.certificate.cmp(&b.certificate));
    let own = Some(TlsFiles::within(directory)).filter(TlsFiles::any_exists);
    let pairs: Vec<_> = own.into_iter().chain(below).collect();
    if pairs.is_empty() { Err(TlsError::NoPair(directory.to_owned())) } else { Ok(pairs) }
}

pub(super) fn read_pair(files: &TlsFiles) -> Result<Content, TlsError> {
    Ok([read(&files.certificate)?, read(&files.key)?])
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
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
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for what it should be"));
    }
    Ok(content)
}

/// Whether anybody on the machine may read a key. That a group may is how keys are given to services (Debian's `ssl-cert`).
pub(super) fn is_exposed(key: &Path) -> bool {
    fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
}

/// Makes of the files' content what is served.
pub(super) fn served(files: &TlsFiles, content: &Content) -> Result<Served, TlsError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let chain = chain(certificate, &content[0])?;
    let private = private_key(key, &content[1])?;
    let refused = |source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() },
        source => TlsError::Unusable { certificate: certificate.clone(), source },
    };
    let key = CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(refused)?;
    let (names, validity) = names_and_validity(certificate, &key)?;
    Ok(Served { key: Arc::new(key), names, validity })
}

fn names_and_validity(path: &Path, key: &CertifiedKey) -> Result<(Vec<String>, Validity), TlsError> {
    let unreadable = |reason: String| TlsError::Unreadable { path: path.to_owned(), reason };
    let der = key.end_entity_cert().map_err(|error| unreadable(error.to_string()))?;
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
    let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let at = |time: x509_parser::time::ASN1Time| time.timestamp().saturating_mul(1000);
    let validity = Validity { from: at(parsed.validity.not_before), until: at(parsed.validity.not_after) };
    Ok((names.collect(), validity))
}

pub(super) fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap_or_default();
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    // PKCS #8 has a name of its own for it; what OpenSSL did before says it in a header.
    let marks: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    if marks.iter().any(|mark| memchr::memmem::find(pem, mark).is_some()) {
        return Err(TlsError::EncryptedKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::NoKey(path.to_owned()))
}

pub(super) fn revocations(path: &Path, pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let lists = lists.unwrap_or_default();
    if lists.is_empty() { Err(TlsError::NoRevocations(path.to_owned())) } else { Ok(lists) }
}
