//! Settings of the audit log.

use super::{ConfigError, Settings, positive, read_text, wrong};
use crate::access::Secret;
use crate::audit::{AuditConfig, Bounds};

/// The audit log. Reads the token's file, so it blocks.
pub(super) fn resolve(settings: &Settings, token: Option<Secret>) -> Result<AuditConfig, ConfigError> {
    let token = match (token, &settings.audit_webhook_token_file) {
        (Some(_), Some(_)) => {
            return Err(wrong("NINEFOLD_AUDIT_WEBHOOK_TOKEN", "audit_webhook_token_file is set as well"));
        }
        (token, None) => token,
        (None, Some(file)) => Some(Secret::new(read_text(file)?)),
    };
    let plain_http = settings.audit_webhook_plain_http.unwrap_or(false);
    let targets = settings.audit_log.clone();
    for (number, target) in targets.iter().enumerate() {
        if target.is_exposed() && !plain_http {
            let reason =
                format!("{target} would be sent without TLS; use https, or allow it by audit_webhook_plain_http");
            return Err(wrong("audit_log", reason));
        }
        if targets.iter().take(number).any(|other| other == target) {
            return Err(wrong("audit_log", format!("{target} is there twice")));
        }
    }
    let bytes = settings.audit_queue_bytes.map_or(16 << 20, |size| size.0);
    let bounds = Bounds {
        records: positive("audit_queue", settings.audit_queue, 10_000)?,
        bytes: positive("audit_queue_bytes", usize::try_from(bytes).ok(), usize::MAX)?,
    };
    let rotate = settings.audit_file_size.map_or(0, |size| size.0);
    Ok(AuditConfig { targets, bounds, rotate, token })
}
