//! TLS: certificates and keys of the listener, and their replacement while it runs; certificates of clients.
//!
//! The protocol is rustls's (TLS 1.2 and 1.3, its own choice of cipher suites, on `ring`). Which HTTP is spoken is agreed by ALPN
//! (RFC 7301), with the names that RFC 9113 and RFC 7301 register.
//!
//! | file | |
//! |---|---|
//! | `files` | what is in certificates, keys and lists, and what is wrong with them |
//! | `names` | which certificate a client gets |
//! | `clients` | which certificates of clients are good |
//! | `acme` | a certificate that an authority gives, as a file like others |
//! | `pinned` | the client's side, for `ninefold health` |

mod acme;
mod clients;
mod files;
mod names;
mod pinned;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{Acceptor, NoServerSessionStorage};
use tokio_rustls::rustls::{self, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::server::TlsStream;

use super::OverTls;
use crate::clock::{Clock, Millis};
use acme::Acme;
use clients::Verifying;
use files::{Content, Served};
use names::Certificates;

pub use acme::{AcmeConfig, LETS_ENCRYPT};
pub use clients::{ClientAuth, ClientCertificate, ClientCertificates};
pub use files::{TlsError, TlsFiles};
pub use pinned::PinnedCertificate;

/// How often the files are looked at. A renewed certificate need not be served within the second, and nobody feels two small reads.
const RECHECK: Duration = Duration::from_secs(5);

/// How often it is said that a certificate ends soon.
const REMIND: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate ends soon when this is left of its time, or a third of it.
const SOON: Millis = 14 * DAY;

const DAY: Millis = 24 * 60 * 60 * 1000;

const NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
pub enum TlsVersion {
    /// TLS 1.2, which all clients of today have.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    /// This one and those after it.
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => NEWEST,
        }
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(format!("{text:?} is no version of TLS that can be served; there are 1.2 and 1.3")),
        }
    }
}

/// How HTTPS is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates and their keys. The first of all certificates is for clients that ask for none by a name that there is.
    pub pairs: Vec<TlsFiles>,
    /// A directory with more of them, as MinIO has it: `public.crt` and `private.key` in it, and in directories below it.
    pub directory: Option<PathBuf>,
    /// One more, from an authority.
    pub acme: Option<AcmeConfig>,
    /// Which certificates of clients are good; without it, none is asked for.
    pub clients: Option<ClientAuth>,
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
    /// How often to look whether files have changed.
    pub recheck: Duration,
}

impl Default for TlsConfig {
    /// Nothing to serve yet.
    fn default() -> Self {
        Self {
            pairs: Vec::new(),
            directory: None,
            acme: None,
            clients: None,
            oldest: TlsVersion::default(),
            recheck: RECHECK,
        }
    }
}

impl From<TlsFiles> for TlsConfig {
    /// One certificate for everybody.
    fn from(files: TlsFiles) -> Self {
        Self { pairs: vec![files], ..Self::default() }
    }
}

/// Until when what is in a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The file.
    pub file: PathBuf,
    /// Names in the certificate; none for a list of revoked ones.
    pub names: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub until: Millis,
    /// From when on; a list does not say how old it was to become, and has no beginning here.
    from: Option<Millis>,
}

/// What was made of some files. What they hold now and cannot be used is refused once, and changes nothing.
struct Watched<T> {
    /// Of what was tried last, so that each content is tried once. Keys are not kept for that.
    tried: Option<[u8; 32]>,
    good: Option<T>,
    /// Why what is there now was refused.
    refused: Option<String>,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { tried: None, good: None, refused: None }
    }
}

impl<T> Watched<T> {
    /// Whether there is something new. An error that was told before is told no more.
    fn look(
        &mut self,
        read: impl FnOnce() -> Result<Content, TlsError>,
        make: impl FnOnce(&Content) -> Result<T, TlsError>,
    ) -> Result<bool, TlsError> {
        let content = match read() {
            Ok(content) => content,
            Err(error) => return self.refuse(error),
        };
        let tried = Some(digest(&content));
        if self.tried == tried {
            return Ok(false);
        }
        self.tried = tried;
        match make(&content) {
            Ok(made) => {
                self.good = Some(made);
                self.refused = None;
                Ok(true)
            }
            Err(error) => self.refuse(error),
        }
    }

    fn refuse(&mut self, error: TlsError) -> Result<bool, TlsError> {
        let text = Some(error.to_string());
        if self.refused == text {
            return Ok(false);
        }
        self.refused = text;
        Err(error)
    }
}

fn digest(content: &Content) -> [u8; 32] {
    let [first, second] = content;
    Sha256::new()
        .chain_update((first.len() as u64).to_le_bytes())
        .chain_update(first)
        .chain_update(second)
        .finalize()
        .into()
}

/// What was found in files so far.
#[derive(Default)]
struct Found {
    /// In the order in which they count.
    pairs: Vec<(TlsFiles, Watched<Served>)>,
    clients: Watched<Verifying>,
    /// Why the directory cannot be used.
    directory_refused: Option<String>,
}

/// What came of looking at the files.
#[derive(Default)]
struct Looked {
    /// Files of which something new is served.
    renewed: Vec<PathBuf>,
    changed: bool,
    /// What is new and cannot be used.
    refused: Vec<TlsError>,
}

/// What connections are accepted with now. It has its own list of when that ends, since [`Found`] is locked while files are read.
struct Current {
    config: Arc<ServerConfig>,
    expiries: Vec<Expiry>,
}

/// What connections are accepted with. Clients that are connected keep what they have; new ones get the newest.
pub struct Tls {
    config: TlsConfig,
    acme: Option<Acme>,
    clock: Clock,
    current: RwLock<Arc<Current>>,
    found: Mutex<Found>,
    /// Held by the listener that follows the files. Others with the same certificate need not look, too.
    following: tokio::sync::Mutex<()>,
}

/// An encrypted connection, and what is known of its other end.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) over: OverTls,
    pub(super) client: Option<ClientCertificate>,
}

impl Tls {
    /// Reads the files, so it blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file. What cannot be used at the start is an error; later, it is logged.
    pub fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let acme = config.acme.clone().map(Acme::new).transpose()?;
        let mut found = Found::default();
        let looked = found.look(&config, acme.as_ref());
        if let Some(error) = looked.refused.into_iter().next() {
            return Err(error);
        }
        let current = RwLock::new(Arc::new(found.current(&config)?));
        let (found, following) = (Mutex::new(found), tokio::sync::Mutex::default());
        Ok(Self { config, acme, clock: Clock::system(), current, found, following })
    }

    /// Encrypts a connection; `None` if that was all the client wanted, to see whose name this is.
    ///
    /// # Errors
    /// There is nothing that both sides want, or the client is not who it must be.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Option<Secured>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if let Some(proof) = self.acme.as_ref().and_then(|acme| acme.proof(&start.client_hello())) {
            start.into_stream(proof).await?.shutdown().await?;
            return Ok(None);
        }
        let stream = start.into_stream(Arc::clone(&self.current().config)).await?;
        let connection = stream.get_ref().1;
        let (over, client) = (agreed(connection), ClientCertificate::of(connection));
        Ok(Some(Secured { stream, over, client }))
    }

    /// Until when what is served now holds.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.current().expiries.clone()
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files again and again, and to it that there is what an authority gives; never returns.
    pub(super) async fn follow(self: Arc<Self>) {
        let _following = self.following.lock().await;
        let looking = async {
            let mut reminded = tokio::time::Instant::now();
            self.remind();
            loop {
                let renewed = async {
                    match &self.acme {
                        Some(acme) => acme.renewed.notified().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(self.config.recheck) => {}
                    () = renewed => {}
                }
                if self.look().await || reminded.elapsed() >= REMIND {
                    reminded = tokio::time::Instant::now();
                    self.remind();
                }
            }
        };
        let ordering = async {
            if let Some(acme) = &self.acme {
                acme.run(&self.clock).await;
            }
        };
        tokio::join!(looking, ordering);
    }

    /// Looks at the files once; whether there was something new.
    async fn look(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        // Whoever looks waits for the answer, so that slow file systems are asked once at a time.
        tokio::task::spawn_blocking(move || this.reload()).await.unwrap_or_else(|error| {
            tracing::error!(%error, "certificates could not be looked at");
            false
        })
    }

    fn reload(&self) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked = found.look(&self.config, self.acme.as_ref());
        if looked.changed {
            match found.current(&self.config) {
                Ok(current) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current),
                Err(error) => looked.refused.push(error),
            }
        }
        drop(found);
        for file in looked.renewed {
            tracing::info!(file = %file.display(), "a certificate was loaded");
        }
        for error in looked.refused {
            tracing::error!(%error, "what has changed cannot be used; what was before is kept");
        }
        looked.changed
    }

    /// Says what ends soon.
    fn remind(&self) {
        for expiry in &self.current().expiries {
            let (file, names) = (expiry.file.display(), expiry.names.join(", "));
            match expiry.days_if_few(self.clock.now()) {
                Some(days) if days < 0 => tracing::error!(%file, names, "a certificate or list has expired"),
                Some(days) => tracing::warn!(%file, names, days, "a certificate or list expires soon"),
                None => {}
            }
        }
    }
}

impl Expiry {
    /// How many days are left, if they are few; below 0 if there are none.
    fn days_if_few(&self, now: Millis) -> Option<i64> {
        let left = self.until.saturating_sub(now);
        // One that lives for days is renewed after days: it is no news that it has days left.
        let few = self.from.map_or(SOON, |from| SOON.min(self.until.saturating_sub(from) / 3));
        (left < few).then(|| left.div_euclid(DAY))
    }
}

impl Found {
    /// Looks at all files.
    fn look(&mut self, config: &TlsConfig, acme: Option<&Acme>) -> Looked {
        let mut looked = Looked::default();
        let mut listed = config.pairs.clone();
        match config.directory.as_deref().map(files::pairs).transpose() {
            Ok(pairs) => {
                self.directory_refused = None;
                listed.extend(pairs.unwrap_or_default());
            }
            Err(error) => {
                // Those that were there are served on.
                let known = self.pairs.iter().map(|(files, _)| files);
                let directory = config.directory.as_deref().unwrap_or(Path::new(""));
                listed.extend(known.filter(|files| files.certificate.starts_with(directory)).cloned());
                let text = Some(error.to_string());
                if self.directory_refused != text {
                    self.directory_refused = text;
                    looked.refused.push(error);
                }
            }
        }
        listed.extend(acme.and_then(Acme::pair));
        let mut before: Vec<_> = std::mem::take(&mut self.pairs);
        for files in listed {
            if self.pairs.iter().any(|(known, _)| *known == files) {
                continue;
            }
            let place = before.iter().position(|(known, _)| *known == files);
            let mut watched = place.map(|place| before.swap_remove(place).1).unwrap_or_default();
            match watched.look(|| files::read_pair(&files), |content| files::served(&files, content)) {
                Ok(true) => {
                    if files::is_exposed(&files.key) {
                        let key = files.key.display();
                        tracing::warn!(%key, "anybody on this machine may read this private key (chmod o= protects it)");
                    }
                    looked.renewed.push(files.certificate.clone());
                    looked.changed = true;
                }
                Ok(false) => {}
                Err(error) => looked.refused.push(error),
            }
            self.pairs.push((files, watched));
        }
        looked.changed |= before.iter().any(|(_, watched)| watched.good.is_some());
        if let Some(auth) = &config.clients {
            match self.clients.look(|| clients::read(auth), |content| clients::verifying(auth, content)) {
                Ok(changed) => looked.changed |= changed,
                Err(error) => looked.refused.push(error),
            }
        }
        looked
    }

    fn current(&self, config: &TlsConfig) -> Result<Current, TlsError> {
        let good = self.pairs.iter().filter_map(|(files, watched)| Some((files, watched.good.as_ref()?)));
        let of_pairs = good.map(|(files, good)| Expiry {
            file: files.certificate.clone(),
            names: good.names.clone(),
            until: good.validity.until,
            from: Some(good.validity.from),
        });
        let lists = config.clients.as_ref().and_then(|clients| clients.revocations.clone());
        let lists = lists.zip(self.clients.good.as_ref().and_then(|good| good.lists_until));
        let of_lists = lists.map(|(file, until)| Expiry { file, names: Vec::new(), until, from: None });
        let expiries = of_pairs.chain(of_lists).collect();
        Ok(Current { config: Arc::new(self.configure(config)?), expiries })
    }

    fn configure(&self, config: &TlsConfig) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(config.oldest.and_newer())?;
        let verifying = self.clients.good.as_ref();
        let builder = match verifying {
            Some(verifying) => builder.with_client_cert_verifier(Arc::clone(&verifying.verifier)),
            None => builder.with_no_client_auth(),
        };
        let served = self.pairs.iter().filter_map(|(_, watched)| watched.good.as_ref());
        let mut made = builder.with_cert_resolver(Arc::new(Certificates::new(served)));
        made.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if verifying.is_some() {
            // Who resumes a session is not verified again, though his certificate may have expired or been revoked since.
            made.session_storage = Arc::new(NoServerSessionStorage {});
            made.send_tls13_tickets = 0;
        } else {
            // Tickets are sealed with keys that live in memory alone and change every six hours, and with each new certificate.
            made.ticketer = ring::Ticketer::new()?;
        }
        Ok(made)
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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

    #[test]
    fn what_ends_soon_is_said_and_what_lives_for_days_is_not_always() {
        let expiry = |from, until| Expiry { file: "f".into(), names: Vec::new(), until, from };
        let of = |days: i64, left: i64| expiry(Some(0), days * DAY).days_if_few((days - left) * DAY + 1);
        assert_eq!(of(90, 15), None);
        assert_eq!(of(90, 14), Some(13));
        assert_eq!(of(90, 0), Some(-1));
        assert_eq!((of(6, 3), of(6, 2)), (None, Some(1)));
        let list = expiry(None, 90 * DAY);
        assert_eq!((list.days_if_few(70 * DAY), list.days_if_few(80 * DAY)), (None, Some(10)));
    }

    #[test]
    fn what_cannot_be_used_is_told_once_and_changes_nothing() {
        let mut watched = Watched::default();
        let read = |text: &str| Ok([text.as_bytes().to_vec(), Vec::new()]);
        let make = |content: &Content| match &content[0][..] {
            b"bad" => Err(TlsError::NoKey("bad".into())),
            good => Ok(good.to_vec()),
        };
        assert!(watched.look(|| read("1"), make).unwrap());
        assert!(!watched.look(|| read("1"), make).unwrap());
        assert!(watched.look(|| read("bad"), make).is_err());
        assert!(!watched.look(|| read("bad"), make).unwrap());
        assert_eq!(watched.good.as_deref(), Some(&b"1"[..]));
        let absent = || Err(TlsError::NoKey("absent".into()));
        assert!(watched.look(absent, make).is_err());
        assert!(!watched.look(absent, make).unwrap());
        assert!(watched.look(|| read("2"), make).unwrap());
        assert!(watched.look(absent, make).is_err(), "it is news again");
    }
}
