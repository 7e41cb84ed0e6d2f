//! Object Lock: the bucket's configuration, retention and legal hold of versions, and the headers that say them with a write.
//!
//! Source: "Locking objects with Object Lock" in the Amazon S3 user guide, and the API reference of the operations.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, malformed_xml, missing_body, s3_error, with_detail};
use super::values::{check_key, millis, timestamp, version};
use super::versioning::bucket_state;
use crate::clock::Millis;
use crate::metadata::{self, BucketChange, BucketLock, ObjectLock, Period, Retention, RetentionMode, VersionChange};
use crate::objects::VersionName;

/// The longest default retention, in days.
const MAX_DAYS: i32 = 36_500;
/// The same in years.
const MAX_YEARS: i32 = 100;

fn until_must_be_ahead(until: Millis, now: Millis) -> S3Result<Millis> {
    if until > now {
        return Ok(until);
    }
    let date = super::values::http_date(until);
    Err(invalid_argument("RetainUntilDate", &date, "The retain until date must be in the future!"))
}

/// What a write's headers say of the lock.
pub(super) fn from_headers(
    mode: Option<&ObjectLockMode>,
    until: Option<&Timestamp>,
    hold: Option<&ObjectLockLegalHoldStatus>,
    now: Millis,
) -> S3Result<ObjectLock> {
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let name = mode.as_str();
            let mode = RetentionMode::from_name(name)
                .ok_or_else(|| invalid_argument("x-amz-object-lock-mode", name, "Unknown wormMode directive."))?;
            Some(Retention { mode, until: until_must_be_ahead(millis(until), now)? })
        }
        (mode, _) => {
            let missing = if mode.is_some() { "x-amz-object-lock-retain-until-date" } else { "x-amz-object-lock-mode" };
            return Err(invalid_argument(
                missing,
                "",
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let legal_hold = hold
        .map(|status| match status.as_str() {
            ObjectLockLegalHoldStatus::ON => Ok(true),
            ObjectLockLegalHoldStatus::OFF => Ok(false),
            other => Err(invalid_argument(
                "x-amz-object-lock-legal-hold",
                other,
                "Legal Hold must be either of 'ON' or 'OFF'",
            )),
        })
        .transpose()?;
    Ok(ObjectLock { retention, legal_hold })
}

/// The same of any of s3s's structures that have the fields.
macro_rules! lock_fields {
    ($input:expr, $now:expr) => {
        $crate::s3::locking::from_headers(
            $input.object_lock_mode.as_ref(),
            $input.object_lock_retain_until_date.as_ref(),
            $input.object_lock_legal_hold_status.as_ref(),
            $now,
        )
    };
}

/// Shows a lock in any of s3s's structures that have the fields.
macro_rules! put_lock {
    ($output:expr, $lock:expr) => {{
        let lock: $crate::metadata::ObjectLock = $lock;
        $output.object_lock_mode = lock.retention.map(|retention| retention.mode.name().to_owned().into());
        $output.object_lock_retain_until_date =
            lock.retention.map(|retention| $crate::s3::values::timestamp(retention.until));
        $output.object_lock_legal_hold_status = lock.legal_hold.map($crate::s3::locking::hold_status);
    }};
}

pub(super) use {lock_fields, put_lock};

pub(super) fn hold_status(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if on {
        ObjectLockLegalHoldStatus::ON
    } else {
        ObjectLockLegalHoldStatus::OFF
    })
}

fn no_lock_on_object(key: &str) -> s3s::S3Error {
    let message = "The specified object does not have a ObjectLock configuration";
    with_detail(s3_error("NoSuchObjectLockConfiguration", StatusCode::NOT_FOUND, message), "Key", key)
}

pub(super) async fn get_object_lock_configuration(
    api: &Api,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let bucket = api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    let Some(lock) = bucket.lock else {
        let message = "Object Lock configuration does not exist for this bucket";
        let error = s3_error("ObjectLockConfigurationNotFoundError", StatusCode::NOT_FOUND, message);
        return Err(with_detail(error, "BucketName", bucket.name));
    };
    let rule = lock.retention.map(|default| {
        let (days, years) = match default.period {
            Period::Days(days) => (Some(days), None),
            Period::Years(years) => (None, Some(years)),
        };
        ObjectLockRule {
            default_retention: Some(DefaultRetention {
                days: days.map(super::values::signed32),
                mode: Some(default.mode.name().to_owned().into()),
                years: years.map(super::values::signed32),
            }),
        }
    });
    Ok(S3Response::new(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule,
        }),
    }))
}

pub(super) async fn put_object_lock_configuration(
    api: &Api,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let PutObjectLockConfigurationInput { bucket, object_lock_configuration, .. } = request.input;
    let configuration = object_lock_configuration.ok_or_else(missing_body)?;
    if configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed_xml());
    }
    let retention = configuration.rule.map(default_retention).transpose()?;
    let change = BucketChange::Lock(BucketLock { retention });
    api.store.change_bucket(bucket, change).await.map_err(|error| {
        bucket_state(error, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
    })?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_retention(rule: ObjectLockRule) -> S3Result<metadata::DefaultRetention> {
    let default = rule.default_retention.ok_or_else(malformed_xml)?;
    let mode = default.mode.as_ref().and_then(|mode| RetentionMode::from_name(mode.as_str()));
    let mode = mode.ok_or_else(malformed_xml)?;
    let number = |name: &str, number: i32, max: i32| match u32::try_from(number) {
        Ok(0) | Err(_) => Err(invalid_argument(
            name,
            &number.to_string(),
            "Default retention period must be a positive integer value.",
        )),
        Ok(_) if number > max => Err(invalid_argument(
            name,
            &number.to_string(),
            format!("Default retention period too large. Maximum: {max}"),
        )),
        Ok(number) => Ok(number),
    };
    let period = match (default.days, default.years) {
        (Some(days), None) => Period::Days(number("Days", days, MAX_DAYS)?),
        (None, Some(years)) => Period::Years(number("Years", years, MAX_YEARS)?),
        _ => return Err(malformed_xml()),
    };
    Ok(metadata::DefaultRetention { mode, period })
}

pub(super) async fn get_object_retention(
    api: &Api,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let GetObjectRetentionInput { bucket, key, version_id, .. } = request.input;
    check_key(&key)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let retention = api.store.object_lock(&name).await.map_err(from_objects)?.retention;
    let retention = retention.ok_or_else(|| no_lock_on_object(&name.key))?;
    Ok(S3Response::new(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(retention.mode.name().to_owned().into()),
            retain_until_date: Some(timestamp(retention.until)),
        }),
    }))
}

pub(super) async fn put_object_retention(
    api: &Api,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let PutObjectRetentionInput { bucket, key, version_id, retention, bypass_governance_retention, .. } = request.input;
    check_key(&key)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let ObjectLockRetention { mode, retain_until_date } = retention.ok_or_else(missing_body)?;
    let retention = match (mode, retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::from_name(mode.as_str()).ok_or_else(malformed_xml)?;
            Some(Retention { mode, until: until_must_be_ahead(millis(&until), api.store.clock().now())? })
        }
        _ => return Err(malformed_xml()),
    };
    let change = VersionChange::Retention { retention, bypass: bypass_governance_retention == Some(true) };
    api.store.change_version(name, change).await.map_err(from_objects)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub(super) async fn get_object_legal_hold(
    api: &Api,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let GetObjectLegalHoldInput { bucket, key, version_id, .. } = request.input;
    check_key(&key)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let hold = api.store.object_lock(&name).await.map_err(from_objects)?.legal_hold;
    let status = hold_status(hold.ok_or_else(|| no_lock_on_object(&name.key))?);
    let legal_hold = Some(ObjectLockLegalHold { status: Some(status) });
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold }))
}

pub(super) async fn put_object_legal_hold(
    api: &Api,
    request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let PutObjectLegalHoldInput { bucket, key, version_id, legal_hold, .. } = request.input;
    check_key(&key)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let on = match legal_hold.ok_or_else(missing_body)?.status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
        Some(ObjectLockLegalHoldStatus::ON) => true,
        Some(ObjectLockLegalHoldStatus::OFF) => false,
        _ => return Err(malformed_xml()),
    };
    api.store.change_version(name, VersionChange::LegalHold(on)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}
