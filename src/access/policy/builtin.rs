//! The policies that every deployment has, of the names that MinIO's tools know.

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
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:BandwidthMonitor","admin:ConsoleLog","admin:OBDInfo","admin:Profiling","admin:Prometheus","admin:ServerInfo","admin:ServerTrace","admin:TopLocksInfo","ninefold:GetJob","ninefold:GetStatus","ninefold:GetUsage","ninefold:GetVolume","ninefold:ListJobs","ninefold:ListSnapshots","ninefold:ListVolumes"],"Resource":["*"]}]}"#,
    ),
    (
        "consoleAdmin",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:*"]},{"Effect":"Allow","Action":["kms:*"]},{"Effect":"Allow","Action":["ninefold:*"]},{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
];

/// A policy that every deployment has, by its name in any case: name and document.
pub fn builtin(name: &str) -> Option<(&'static str, &'static str)> {
    BUILTIN.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name))
}
