#![allow(clippy::unwrap_used)]

use super::*;
use crate::server::{LETS_ENCRYPT, TlsFiles};

fn load(file: &str, environment: &[(&str, &str)], flags: Settings) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ninefold.toml");
    std::fs::write(&path, file).unwrap();
    let variables =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
    Config::load(Some(&path), &variables, flags)
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment, Settings::default()).unwrap_err().to_string()
}

#[test]
fn nothing_configured_is_a_working_server() {
    let config = load("", &[], Settings::default()).unwrap();
    assert_eq!(config.listen, "127.0.0.1:9000");
    assert_eq!((config.region.as_str(), config.allow_sigv2), ("us-east-1", false));
    assert!(config.data.is_absolute() && config.data.ends_with("data"));
    assert!(config.database_url.expose().starts_with("sqlite:/"));
    assert!(config.database_url.expose().ends_with("data/metadata.sqlite"));
    let ids: Vec<&str> = config.volumes.iter().map(|volume| volume.id.as_str()).collect();
    assert_eq!(ids, ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9"]);
    assert!(config.volumes[8].path.ends_with("data/volumes/v9"));
    assert_eq!(config.maintenance.upload_expiry, Duration::from_secs(7 * 86_400));
}

#[test]
fn flags_count_more_than_the_environment_and_that_more_than_the_file() {
    let file =
        "allow_sigv2 = true\nregion = \"file-1\"\nlisten = \"127.0.0.1:1\"\ndata = \"/file\"\nmax_connections = 5\n";
    let environment =
        [("NINEFOLD_REGION", "env-1"), ("NINEFOLD_LISTEN", "127.0.0.1:2"), ("NINEFOLD_IDLE_TIMEOUT", "5s")];
    let flags = Settings { region: Some("flag-1".into()), ..Settings::default() };
    let config = load(file, &environment, flags).unwrap();
    assert_eq!((config.region.as_str(), config.listen.as_str()), ("flag-1", "127.0.0.1:2"));
    assert_eq!((config.data.as_path(), config.limits.connections), (Path::new("/file"), 5));
    assert_eq!(config.limits.silence, Duration::from_secs(5));
    assert!(config.allow_sigv2);
    assert_eq!(config.bucket_defaults, BucketDefaults::default());
    let variables =
        [("NINEFOLD_DEFAULT_OBJECT_OWNERSHIP", "ObjectWriter"), ("NINEFOLD_DEFAULT_PUBLIC_ACCESS_BLOCK", "false")];
    let open = load(file, &variables, Settings::default()).unwrap().bucket_defaults;
    assert_eq!(open, BucketDefaults { ownership: Ownership::ObjectWriter, block: None });
    assert!(!load(file, &[("NINEFOLD_ALLOW_SIGV2", "false")], Settings::default()).unwrap().allow_sigv2);
}

#[test]
fn limits_come_from_everywhere() {
    let usual = load("", &[], Settings::default()).unwrap();
    assert_eq!((usual.rules.requests, usual.rules.key, usual.limits.connections_per_client), (10_000, None, 0));
    assert!(usual.rules.memory >= rates::LEAST_MEMORY);
    let file = "rate_limit = [\"key:requests=5\"]\nmax_requests = 7\nmax_connections_per_client = 8\n";
    let config = load(file, &[("NINEFOLD_MAX_REQUEST_MEMORY", "1GiB")], Settings::default()).unwrap();
    assert_eq!((config.rules.requests, config.rules.memory, config.limits.connections_per_client), (7, 1 << 30, 8));
    assert!(config.rules.key.is_some() && config.rules.bucket.is_none());
    let both = [("NINEFOLD_RATE_LIMITS", "bucket:out=1MiB  address:requests=10,burst=20")];
    let rules = load(file, &both, Settings::default()).unwrap().rules;
    assert!(rules.key.is_none() && rules.bucket.is_some() && rules.address.is_some());
}

#[test]
fn certificate_and_key_may_come_from_different_sources() {
    assert_eq!(load("", &[], Settings::default()).unwrap().tls, None);
    let flags = Settings { tls_cert: vec!["/flag/cert".into()], ..Settings::default() };
    let config = load("tls_cert = \"/file/cert\"\n", &[("NINEFOLD_TLS_KEY", "/env/key")], flags).unwrap();
    let pair = |certificate: &str, key: &str| TlsFiles::new(certificate.into(), key.into());
    assert_eq!(config.tls, Some(pair("/flag/cert", "/env/key").into()));
    let several = "tls_cert = [\"/c1\", \"/c2\"]\ntls_dir = \"/certs\"\n";
    let tls = load(several, &[("NINEFOLD_TLS_KEY", "/k1, /k2")], Settings::default()).unwrap().tls.unwrap();
    assert_eq!(tls.pairs, [pair("/c1", "/k1"), pair("/c2", "/k2")]);
    assert_eq!((tls.directory.as_deref(), tls.oldest), (Some(Path::new("/certs")), TlsVersion::Tls12));
    assert!(refused(several, &[("NINEFOLD_TLS_KEY", "/k1")]).contains("1 keys for 2 certificates"));
}

#[test]
fn clients_and_authorities_of_tls() {
    let file = "tls_dir = \"/certs\"\ntls_client_ca = \"/ca\"\ntls_min_version = \"1.3\"\n";
    let tls = load(file, &[("NINEFOLD_TLS_CLIENT_CRL", "/crl")], Settings::default()).unwrap().tls.unwrap();
    let clients = tls.clients.unwrap();
    assert_eq!((clients.certificates, tls.oldest), (ClientCertificates::Required, TlsVersion::Tls13));
    assert_eq!(clients.revocations.as_deref(), Some(Path::new("/crl")));
    let tls = load(file, &[("NINEFOLD_TLS_CLIENT_AUTH", "optional")], Settings::default()).unwrap().tls.unwrap();
    assert_eq!(tls.clients.unwrap().certificates, ClientCertificates::Optional);
    let environment = [("NINEFOLD_ACME_DOMAINS", "A.test,b.test"), ("NINEFOLD_DATA", "/d")];
    let acme = load("", &environment, Settings::default()).unwrap().tls.unwrap().acme.unwrap();
    assert_eq!((acme.domains, acme.directory.as_str()), (vec!["a.test".into(), "b.test".into()], LETS_ENCRYPT));
    assert_eq!(acme.cache, Path::new("/d/acme"));
    assert!(refused("acme_domain = [\"*.a.test\"]\n", &[]).contains("takes a proof by DNS"));
    assert!(refused("tls_client_ca = \"/ca\"\n", &[]).contains("it needs a certificate"));
    assert!(refused("acme_email = \"a@b\"\n", &[]).contains("acme_domain"));
}

#[test]
fn volumes_come_whole_from_one_source() {
    let file = "[[volume]]\npath = \"/file{1...9}\"\nnode = \"a\"\nweight = 2.0\ncapacity = \"1TiB\"\n";
    let config = load(file, &[], Settings::default()).unwrap();
    assert_eq!((config.volumes.len(), config.volumes[0].node.as_str()), (9, "a"));
    let config = load(file, &[("MINIO_VOLUMES", "/env{1...4} /other{1...4}")], Settings::default()).unwrap();
    assert_eq!((config.volumes.len(), config.volumes[7].path.as_str()), (8, "/other4"));
    let flags = Settings { volume: vec!["/flag{1...6}".parse().unwrap()], ..Settings::default() };
    assert_eq!(load(file, &[], flags).unwrap().volumes[5].id, "flag6");
}

#[test]
fn secrets_come_from_variables_or_files_and_never_show() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    std::fs::write(&path, "postgres://u:hush@db/x\n").unwrap();
    let environment = [
        ("NINEFOLD_DATABASE_URL_FILE", path.to_str().unwrap()),
        ("MINIO_ROOT_USER", "somebody"),
        ("MINIO_ROOT_PASSWORD", "hush-hush"),
    ];
    let config = load("", &environment, Settings::default()).unwrap();
    assert_eq!(config.database_url.expose(), "postgres://u:hush@db/x");
    assert_eq!(config.root_user.as_deref(), Some("somebody"));
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.master_key, Place::of(None, None, &config.data));
    let given = load("", &[("NINEFOLD_MASTER_KEY", "hush")], Settings::default()).unwrap();
    assert_eq!(given.master_key, Place::Given(Secret::new("hush")));
    assert!(!format!("{given:?}").contains("hush"));
    let file = load("master_key_file = \"/key\"\n", &[], Settings::default()).unwrap();
    assert_eq!(file.master_key, Place::File("/key".into()));
    let both = [("NINEFOLD_MASTER_KEY", "hush"), ("NINEFOLD_MASTER_KEY_FILE", "/key")];
    assert!(refused("", &both).contains("master_key_file"));
    let both = [("NINEFOLD_DATABASE_URL", "sqlite:x"), ("NINEFOLD_DATABASE_URL_FILE", "/x")];
    assert!(refused("", &both).contains("NINEFOLD_DATABASE_URL_FILE"));
    let first = [("NINEFOLD_ROOT_USER", "first"), ("MINIO_ROOT_USER", "second")];
    assert_eq!(load("", &first, Settings::default()).unwrap().root_user.as_deref(), Some("first"));
}

#[test]
fn an_audit_log_is_off_and_has_targets() {
    assert_eq!(load("", &[], Settings::default()).unwrap().audit.targets, []);
    let file = "audit_log = [\"file:/a\", \"https://siem.example/in?key=hush\"]\naudit_file_size = \"1GiB\"\n";
    let config = load(file, &[("NINEFOLD_AUDIT_WEBHOOK_TOKEN", "hush")], Settings::default()).unwrap();
    let targets: Vec<String> = config.audit.targets.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["file:/a", "https://siem.example/in"]);
    assert_eq!((config.audit.rotate, config.audit.token.as_ref().map(Secret::expose)), (1 << 30, Some("hush")));
    assert!(!format!("{config:?}").contains("hush"));
    let allowed =
        [("NINEFOLD_AUDIT_LOG", "stdout, http://siem.example/"), ("NINEFOLD_AUDIT_WEBHOOK_PLAIN_HTTP", "true")];
    assert_eq!(load("", &allowed, Settings::default()).unwrap().audit.targets.len(), 2);
    let twice = [("NINEFOLD_AUDIT_WEBHOOK_TOKEN", "hush"), ("NINEFOLD_AUDIT_WEBHOOK_TOKEN_FILE", "/token")];
    assert!(refused("", &twice).contains("audit_webhook_token_file"));
}

#[test]
fn websites_are_nowhere_where_s3_is() {
    let environment = [
        ("NINEFOLD_DOMAINS", "s3.test"),
        ("NINEFOLD_WEBSITE_DOMAINS", "web.s3.test,sites.test"),
        ("NINEFOLD_WEBSITE_LISTEN", ":80"),
    ];
    let config = load("", &environment, Settings::default()).unwrap();
    assert_eq!(config.website_domains, ["web.s3.test", "sites.test"]);
    assert_eq!(config.website_listen.as_deref(), Some("[::]:80"));
    for same in ["s3.test", "S3.Test", "test"] {
        let environment = [("NINEFOLD_DOMAINS", "s3.test"), ("NINEFOLD_WEBSITE_DOMAINS", same)];
        assert!(refused("", &environment).contains("that S3 is served under"), "{same}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    assert!(refused("regoin = \"x\"", &[]).contains("regoin"));
    assert!(refused("[[volume]]\npath = \"/a\"\ncolour = \"red\"", &[]).contains("colour"));
    let quoted = refused("region = \"a\"\ndatabase_url = \"postgres://u:hush@db\" oops", &[]);
    assert!(quoted.contains("line 2") && !quoted.contains("hush"), "{quoted}");
    for (name, value) in [
        ("NINEFOLD_LISTEN", "9000"),
        ("NINEFOLD_LISTEN", "127.0.0.1:99999"),
        ("NINEFOLD_TLS_CERT", "/cert-without-key.pem"),
        ("NINEFOLD_TLS_KEY", "/key-without-cert.pem"),
        ("NINEFOLD_TLS_MIN_VERSION", "1.1"),
        ("NINEFOLD_TLS_MIN_VERSION", "1.3"),
        ("NINEFOLD_TLS_CLIENT_AUTH", "sometimes"),
        ("NINEFOLD_TLS_CLIENT_AUTH", "required"),
        ("NINEFOLD_TLS_CLIENT_CRL", "/list-without-authority.pem"),
        ("NINEFOLD_ACME_DOMAINS", "no domain"),
        ("NINEFOLD_ACME_DIRECTORY", "https://directory-without-domain.test"),
        ("NINEFOLD_REGION", "EU West"),
        ("NINEFOLD_BUCKETS", "Good_Bucket"),
        ("NINEFOLD_BUCKETS", "minio"),
        ("NINEFOLD_DOMAINS", "no domain"),
        ("NINEFOLD_WEBSITE_DOMAINS", "no domain"),
        ("NINEFOLD_WEBSITE_LISTEN", "9001"),
        ("NINEFOLD_DATABASE_URL", "mysql://x"),
        ("NINEFOLD_MAX_CONNECTIONS", "0"),
        ("NINEFOLD_MAX_CONNECTIONS", "many"),
        ("NINEFOLD_MAX_REQUESTS", "0"),
        ("NINEFOLD_MAX_REQUEST_MEMORY", "1MiB"),
        ("NINEFOLD_RATE_LIMITS", "key:requests=fast"),
        ("NINEFOLD_RATE_LIMITS", "key:requests=1 key:in=1MB"),
        ("NINEFOLD_ALLOW_SIGV2", "perhaps"),
        ("NINEFOLD_IDLE_TIMEOUT", "0s"),
        ("NINEFOLD_GC_GRACE", "a day"),
        ("NINEFOLD_HEAL_RATE", "fast"),
        ("NINEFOLD_SCRUB_RATE", "1 mile"),
        ("NINEFOLD_SCRUB_INTERVAL", "0s"),
        ("NINEFOLD_LOG_FORMAT", "xml"),
        ("NINEFOLD_UPLOAD_EXPIRY_DAYS", "0"),
        ("NINEFOLD_AUDIT_LOG", "/var/log/audit"),
        ("NINEFOLD_AUDIT_LOG", "http://siem.example/"),
        ("NINEFOLD_AUDIT_LOG", "stdout,stdout"),
        ("NINEFOLD_AUDIT_QUEUE", "0"),
        ("NINEFOLD_AUDIT_QUEUE_BYTES", "0"),
        ("NINEFOLD_AUDIT_FILE_SIZE", "long"),
        ("NINEFOLD_AUDIT_WEBHOOK_TOKEN_FILE", "/nowhere/at/all"),
        ("NINEFOLD_VOLUMES", "/d{1...5}"),
        ("NINEFOLD_VOLUMES", "path=/d{1...9},x=y"),
        ("NINEFOLD_ROOT_PASSWORD_FILE", "/nowhere/at/all"),
    ] {
        assert!(load("", &[(name, value)], Settings::default()).is_err(), "{name}={value}");
    }
    let absent = Config::load(Some(Path::new("/nowhere/ninefold.toml")), &|_| None, Settings::default());
    assert!(matches!(absent, Err(ConfigError::File { .. })));
}
