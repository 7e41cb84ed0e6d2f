//! Certificates, keys and lists, made for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ninefold::server::{ClientAuth, ClientCertificates, TlsConfig, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A directory of files that are looked at all the time.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a renewal should: nobody sees half of it.
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        path
    }

    /// A certificate of its own for these names, and its key, in two files.
    pub fn pair(&self, name: &str, names: &[&str]) -> TlsFiles {
        self.pair_of(&rcgen::PKCS_ECDSA_P256_SHA256, name, names)
    }

    pub fn pair_of(&self, kind: &'static SignatureAlgorithm, name: &str, names: &[&str]) -> TlsFiles {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        self.placed(name, &certificate.pem(), &key.serialize_pem())
    }

    /// Certificate and key as MinIO has them.
    pub fn placed_in(&self, directory: &str, names: &[&str]) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let made = made.unwrap();
        let key = self.write(&format!("{directory}/private.key"), made.signing_key.serialize_pem());
        TlsFiles::new(self.write(&format!("{directory}/public.crt"), made.cert.pem()), key)
    }

    pub fn placed(&self, name: &str, certificate: &str, key: &str) -> TlsFiles {
        let key = self.write(&format!("{name}.key"), key);
        TlsFiles::new(self.write(&format!("{name}.pem"), certificate), key)
    }
}

pub fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// A server's settings that are looked at all the time.
pub fn watched(config: impl Into<TlsConfig>) -> TlsConfig {
    TlsConfig { recheck: Duration::from_millis(5), ..config.into() }
}

/// Certificate and key of a client.
pub struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub serial: SerialNumber,
    pub pem: String,
    pub key_pem: String,
}

/// Who signs the certificates of clients.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    next: std::cell::Cell<u64>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, next: 1.into() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate that ends after these days.
    pub fn client(&self, name: &str, days: i64) -> Shown {
        let serial = SerialNumber::from(self.next.replace(self.next.get() + 1));
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.clone());
        params.not_before = OffsetDateTime::now_utc() - time::Duration::days(30);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::days(days);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Shown {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            serial,
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A list of these, that holds for so many days.
    pub fn revoking(&self, revoked: &[&Shown], days: i64) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = revoked.iter().map(|shown| RevokedCertParams {
            serial_number: shown.serial.clone(),
            revocation_time: now - time::Duration::days(1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now - time::Duration::days(20),
            next_update: now + time::Duration::days(days),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Clients must show what the authority in this file has signed.
pub fn asking(authorities: PathBuf, certificates: ClientCertificates) -> ClientAuth {
    ClientAuth { authorities, revocations: None, certificates }
}
