//! The policies that every deployment has, of the names that MinIO's tools know.

use std::sync::{Arc, LazyLock};

use super::{Policy, PolicyKind};

/// Names and documents.
pub const BUILTIN: [(&str, &str); 5] = [
    (
        "readonly",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "readwrite",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "writeonly",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "diagnostics",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:BandwidthMonitor","admin:ConsoleLog","admin:OBDInfo","admin:Profiling","admin:Prometheus","admin:ServerInfo","admin:ServerTrace","admin:TopLocksInfo"],"Resource":["*"]}]}"#,
    ),
    (
        "consoleAdmin",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:*"]},{"Effect":"Allow","Action":["kms:*"]},{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
];

/// A policy that every deployment has; `None` if there is none of this name.
pub fn builtin(name: &str) -> Option<&'static Arc<Policy>> {
    static POLICIES: LazyLock<Vec<(&str, Arc<Policy>)>> = LazyLock::new(|| {
        let read = |(name, document)| Some((name, Arc::new(Policy::parse(document, PolicyKind::Identity).ok()?)));
        BUILTIN.into_iter().filter_map(read).collect()
    });
    POLICIES.iter().find(|(own, _)| *own == name).map(|(_, policy)| policy)
}
