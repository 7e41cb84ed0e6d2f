//! Settings in environment variables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{ConfigError, Environment, Settings, read_text, wrong};
use crate::access::Secret;

/// Settings in environment variables. An empty variable says nothing.
pub(super) struct Variables<'a>(pub(super) Environment<'a>);

impl Variables<'_> {
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            data: self.text("NINEFOLD_DATA")?.map(PathBuf::from),
            master_key_file: self.text("NINEFOLD_MASTER_KEY_FILE")?.map(PathBuf::from),
            listen: self.text("NINEFOLD_LISTEN")?,
            tls_cert: self.list(&["NINEFOLD_TLS_CERT"], |c| c == ',')?,
            tls_key: self.list(&["NINEFOLD_TLS_KEY"], |c| c == ',')?,
            tls_dir: self.text("NINEFOLD_TLS_DIR")?.map(PathBuf::from),
            tls_min_version: self.value("NINEFOLD_TLS_MIN_VERSION")?,
            tls_client_ca: self.text("NINEFOLD_TLS_CLIENT_CA")?.map(PathBuf::from),
            tls_client_auth: self.value("NINEFOLD_TLS_CLIENT_AUTH")?,
            tls_client_crl: self.text("NINEFOLD_TLS_CLIENT_CRL")?.map(PathBuf::from),
            acme_domain: self.list(&["NINEFOLD_ACME_DOMAINS"], |c| c == ',')?,
            acme_email: self.text("NINEFOLD_ACME_EMAIL")?,
            acme_directory: self.text("NINEFOLD_ACME_DIRECTORY")?,
            acme_directory_ca: self.text("NINEFOLD_ACME_DIRECTORY_CA")?.map(PathBuf::from),
            acme_cache: self.text("NINEFOLD_ACME_CACHE")?.map(PathBuf::from),
            database_url: self.secret(&["NINEFOLD_DATABASE_URL"])?,
            database_url_file: None,
            database_connections: self.value("NINEFOLD_DATABASE_CONNECTIONS")?,
            database_connect_timeout: self.value("NINEFOLD_DATABASE_CONNECT_TIMEOUT")?,
            database_statement_timeout: self.value("NINEFOLD_DATABASE_STATEMENT_TIMEOUT")?,
            volume: self.list(&["NINEFOLD_VOLUMES", "MINIO_VOLUMES"], char::is_whitespace)?,
            bucket: self.list(&["NINEFOLD_BUCKETS"], |c| c == ',')?,
            region: self.text("NINEFOLD_REGION")?,
            any_region: self.value("NINEFOLD_ANY_REGION")?,
            domain: self.list(&["NINEFOLD_DOMAINS", "MINIO_DOMAIN"], |c| c == ',')?,
            website_domain: self.list(&["NINEFOLD_WEBSITE_DOMAINS"], |c| c == ',')?,
            website_listen: self.text("NINEFOLD_WEBSITE_LISTEN")?,
            allow_sigv2: self.value("NINEFOLD_ALLOW_SIGV2")?,
            default_object_ownership: self.value("NINEFOLD_DEFAULT_OBJECT_OWNERSHIP")?,
            default_public_access_block: self.value("NINEFOLD_DEFAULT_PUBLIC_ACCESS_BLOCK")?,
            max_connections: self.value("NINEFOLD_MAX_CONNECTIONS")?,
            max_connections_per_client: self.value("NINEFOLD_MAX_CONNECTIONS_PER_CLIENT")?,
            max_requests: self.value("NINEFOLD_MAX_REQUESTS")?,
            max_request_memory: self.value("NINEFOLD_MAX_REQUEST_MEMORY")?,
            rate_limit: self.list(&["NINEFOLD_RATE_LIMITS"], char::is_whitespace)?,
            head_timeout: self.value("NINEFOLD_HEAD_TIMEOUT")?,
            idle_timeout: self.value("NINEFOLD_IDLE_TIMEOUT")?,
            drain_timeout: self.value("NINEFOLD_DRAIN_TIMEOUT")?,
            gc_grace: self.value("NINEFOLD_GC_GRACE")?,
            read_limit: self.value("NINEFOLD_READ_LIMIT")?,
            instance_timeout: self.value("NINEFOLD_INSTANCE_TIMEOUT")?,
            maintenance_interval: self.value("NINEFOLD_MAINTENANCE_INTERVAL")?,
            sweep_limit: self.value("NINEFOLD_SWEEP_LIMIT")?,
            sweep_again: self.value("NINEFOLD_SWEEP_AGAIN")?,
            quarantine_keep: self.value("NINEFOLD_QUARANTINE_KEEP")?,
            heal_rate: self.value("NINEFOLD_HEAL_RATE")?,
            scrub_rate: self.value("NINEFOLD_SCRUB_RATE")?,
            scrub_interval: self.value("NINEFOLD_SCRUB_INTERVAL")?,
            snapshot_interval: self.value("NINEFOLD_SNAPSHOT_INTERVAL")?,
            snapshot_keep: self.value("NINEFOLD_SNAPSHOT_KEEP")?,
            change_log: self.value("NINEFOLD_CHANGE_LOG")?,
            access_log_interval: self.value("NINEFOLD_ACCESS_LOG_INTERVAL")?,
            audit_log: self.list(&["NINEFOLD_AUDIT_LOG"], |c| c == ',')?,
            audit_queue: self.value("NINEFOLD_AUDIT_QUEUE")?,
            audit_queue_bytes: self.value("NINEFOLD_AUDIT_QUEUE_BYTES")?,
            audit_file_size: self.value("NINEFOLD_AUDIT_FILE_SIZE")?,
            audit_webhook_token_file: self.text("NINEFOLD_AUDIT_WEBHOOK_TOKEN_FILE")?.map(PathBuf::from),
            audit_webhook_plain_http: self.value("NINEFOLD_AUDIT_WEBHOOK_PLAIN_HTTP")?,
            upload_expiry_days: self.value("NINEFOLD_UPLOAD_EXPIRY_DAYS")?,
            oidc_config_url: self.first(&["NINEFOLD_OIDC_CONFIG_URL", "MINIO_IDENTITY_OPENID_CONFIG_URL"])?,
            oidc_client_id: self
                .list(&["NINEFOLD_OIDC_CLIENT_IDS", "MINIO_IDENTITY_OPENID_CLIENT_ID"], |c| c == ',')?,
            oidc_claim_name: self.first(&["NINEFOLD_OIDC_CLAIM_NAME", "MINIO_IDENTITY_OPENID_CLAIM_NAME"])?,
            oidc_role_policy: self
                .list(&["NINEFOLD_OIDC_ROLE_POLICIES", "MINIO_IDENTITY_OPENID_ROLE_POLICY"], |c| c == ',')?,
            oidc_ca: self.text("NINEFOLD_OIDC_CA")?.map(PathBuf::from),
            oidc: Vec::new(),
            log_format: self.value("NINEFOLD_LOG_FORMAT")?,
            log: match self.text("NINEFOLD_LOG")? {
                Some(filter) => Some(filter),
                None => self.text("RUST_LOG")?,
            },
        })
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        match (self.0)(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(wrong(name, "it is not UTF-8")),
            None => Ok(None),
        }
    }

    /// The first of the variables that is set.
    fn first(&self, names: &[&str]) -> Result<Option<String>, ConfigError> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    pub(super) fn value<T>(&self, name: &str) -> Result<Option<T>, ConfigError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(name)?.map(|text| text.trim().parse().map_err(|error| wrong(name, error))).transpose()
    }

    pub(super) fn list<T>(&self, names: &[&str], separator: fn(char) -> bool) -> Result<Vec<T>, ConfigError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        for name in names {
            if let Some(text) = self.text(name)? {
                let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
                return items.map(|item| item.parse().map_err(|error| wrong(name, error))).collect();
            }
        }
        Ok(Vec::new())
    }

    /// The first of the variables that is set, itself or as the name of a file (`…_FILE`).
    pub(super) fn secret(&self, names: &[&str]) -> Result<Option<Secret>, ConfigError> {
        for name in names {
            let of_file = format!("{name}_FILE");
            match (self.text(name)?, self.text(&of_file)?) {
                (Some(_), Some(_)) => return Err(wrong(name, format!("{of_file} is set as well"))),
                (Some(text), None) => return Ok(Some(Secret::new(text))),
                (None, Some(path)) => return Ok(Some(Secret::new(read_text(Path::new(&path))?))),
                (None, None) => {}
            }
        }
        Ok(None)
    }
}
