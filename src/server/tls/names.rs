//! Which certificate a client gets: by the name that it asks for (SNI, RFC 6066), and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::files::Served;

/// Certificates by the names in them.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Several for one name have keys of different kinds, or the first of them is served.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that ask for no name, or for one that no certificate has.
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// The first is the default.
    pub(super) fn new<'a>(served: impl IntoIterator<Item = &'a Served>) -> Self {
        let mut all = Self::default();
        for served in served {
            all.default.get_or_insert_with(|| Arc::clone(&served.key));
            for name in &served.names {
                all.by_name.entry(name.clone()).or_default().push(Arc::clone(&served.key));
            }
        }
        all
    }

    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        // A wildcard is one label, the first (RFC 9525, section 6.3); a certificate of just this name comes before it.
        let wildcard = name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let named = [Some(name), wildcard].into_iter().flatten().find_map(|name| self.by_name.get(&name));
        let named = named.map(Vec::as_slice).unwrap_or_default();
        let verifiable = named.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        verifiable.or(named.first()).or(self.default.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}
