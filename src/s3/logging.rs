//! PutBucketLogging, GetBucketLogging: whether the requests to a bucket are written down, and where to.
//!
//! Source: these operations, and LoggingEnabled and what is in it, in the Amazon S3 API reference. What S3 says of configurations
//! that cannot be is in neither; it is as S3 answers.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, malformed_xml, not_implemented, s3_error, with_detail};
use crate::metadata::{self, Bucket};
use crate::objects::{self, LogKeys, Logging};

/// Bytes of a prefix at most, so that with the longest of what follows it is a key.
const PREFIX_LEN: usize = 768;

fn invalid_target(bucket: &str, message: &str) -> S3Error {
    let error = s3_error("InvalidTargetBucketForLogging", StatusCode::BAD_REQUEST, message);
    with_detail(error, "TargetBucket", bucket)
}

fn from_format(format: TargetObjectKeyFormat) -> S3Result<LogKeys> {
    let TargetObjectKeyFormat { partitioned_prefix, simple_prefix } = format;
    match (simple_prefix, partitioned_prefix) {
        (Some(SimplePrefix {}), None) => Ok(LogKeys::Simple),
        (None, Some(PartitionedPrefix { partition_date_source })) => {
            match partition_date_source.as_ref().map(PartitionDateSource::as_str) {
                Some(PartitionDateSource::EVENT_TIME) => Ok(LogKeys::PartitionedByEvent),
                None | Some(PartitionDateSource::DELIVERY_TIME) => Ok(LogKeys::PartitionedByDelivery),
                Some(_) => Err(malformed_xml()),
            }
        }
        _ => Err(malformed_xml()),
    }
}

fn to_format(keys: LogKeys) -> TargetObjectKeyFormat {
    let partitioned = |source| {
        let partition_date_source = Some(PartitionDateSource::from_static(source));
        TargetObjectKeyFormat {
            partitioned_prefix: Some(PartitionedPrefix { partition_date_source }),
            simple_prefix: None,
        }
    };
    match keys {
        LogKeys::Simple => TargetObjectKeyFormat { partitioned_prefix: None, simple_prefix: Some(SimplePrefix {}) },
        LogKeys::PartitionedByEvent => partitioned(PartitionDateSource::EVENT_TIME),
        LogKeys::PartitionedByDelivery => partitioned(PartitionDateSource::DELIVERY_TIME),
    }
}

/// Who else may read log objects: nobody. They are their bucket owner's alone.
fn refuse_grants(grants: Option<TargetGrants>) -> S3Result<()> {
    let grants = grants.unwrap_or_default();
    for TargetGrant { grantee, permission } in &grants {
        let permission = permission.as_ref().map(BucketLogsPermission::as_str);
        if grantee.is_none() || !matches!(permission, Some("FULL_CONTROL" | "READ" | "WRITE")) {
            return Err(malformed_xml());
        }
    }
    if grants.is_empty() { Ok(()) } else { Err(not_implemented("TargetGrants")) }
}

fn from_status(status: BucketLoggingStatus) -> S3Result<Option<Logging>> {
    let Some(LoggingEnabled { target_bucket, target_grants, target_object_key_format, target_prefix }) =
        status.logging_enabled
    else {
        return Ok(None);
    };
    if target_bucket.is_empty() {
        return Err(malformed_xml());
    }
    refuse_grants(target_grants)?;
    if target_prefix.len() > PREFIX_LEN || target_prefix.contains('\0') {
        let message = format!("The target prefix must have {PREFIX_LEN} bytes at most, and no NUL.");
        return Err(invalid_argument("TargetPrefix", &target_prefix, message));
    }
    let keys = target_object_key_format.map(from_format).transpose()?;
    Ok(Some(Logging { to: target_bucket, prefix: target_prefix, keys }))
}

/// Whether the log of one bucket may go into another.
fn check_target(bucket: &Bucket, target: &Bucket) -> S3Result<()> {
    if target.owner != bucket.owner {
        let message = "The owner for the bucket to be logged and the target bucket must be the same.";
        return Err(invalid_target(&target.name, message));
    }
    if target.region != bucket.region {
        let message = "Cross S3 location logging not allowed.";
        return Err(s3_error("CrossLocationLoggingProhibitted", StatusCode::FORBIDDEN, message));
    }
    if target.lock.is_some_and(|lock| lock.retention.is_some()) {
        let message = "The target bucket for logging must not have a default retention period.";
        return Err(invalid_target(&target.name, message));
    }
    Ok(())
}

pub(super) async fn get_bucket_logging(
    api: &Api,
    request: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    let logging = api.store.bucket_logging(&request.input.bucket).await.map_err(from_objects)?;
    let logging_enabled = logging.map(|Logging { to, prefix, keys }| LoggingEnabled {
        target_bucket: to,
        target_grants: None,
        target_object_key_format: keys.map(to_format),
        target_prefix: prefix,
    });
    Ok(S3Response::new(GetBucketLoggingOutput { logging_enabled }))
}

pub(super) async fn put_bucket_logging(
    api: &Api,
    request: S3Request<PutBucketLoggingInput>,
) -> S3Result<S3Response<PutBucketLoggingOutput>> {
    let PutBucketLoggingInput { bucket: name, bucket_logging_status, .. } = request.input;
    let logging = from_status(bucket_logging_status)?;
    if let Some(Logging { to, .. }) = &logging {
        let bucket = api.store.bucket(&name).await.map_err(from_objects)?;
        match api.store.bucket(to).await {
            Ok(target) => check_target(&bucket, &target)?,
            Err(objects::Error::Metadata(metadata::Error::NoSuchBucket(_))) => {
                return Err(invalid_target(to, "The target bucket for logging does not exist"));
            }
            Err(error) => return Err(from_objects(error)),
        }
    }
    api.store.set_bucket_logging(name, logging).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketLoggingOutput::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::metadata::{BucketId, BucketLock, DefaultRetention, Period, RetentionMode, Versioning};

    fn status(change: impl FnOnce(&mut LoggingEnabled)) -> BucketLoggingStatus {
        let mut enabled = LoggingEnabled {
            target_bucket: "logs".into(),
            target_grants: None,
            target_object_key_format: None,
            target_prefix: "p/".into(),
        };
        change(&mut enabled);
        BucketLoggingStatus { logging_enabled: Some(enabled) }
    }

    fn partitioned(source: Option<&str>) -> TargetObjectKeyFormat {
        let partition_date_source = source.map(|source| source.to_owned().into());
        TargetObjectKeyFormat {
            partitioned_prefix: Some(PartitionedPrefix { partition_date_source }),
            simple_prefix: None,
        }
    }

    #[test]
    fn logs_have_a_target_and_one_form_of_keys() {
        assert_eq!(from_status(BucketLoggingStatus { logging_enabled: None }).unwrap(), None);
        let simple = TargetObjectKeyFormat { partitioned_prefix: None, simple_prefix: Some(SimplePrefix {}) };
        for format in
            [None, Some(simple), Some(partitioned(Some("EventTime"))), Some(partitioned(Some("DeliveryTime")))]
        {
            let given = status(|enabled| enabled.target_object_key_format = format.clone());
            let logging = from_status(given).unwrap().unwrap();
            assert_eq!((logging.to.as_str(), logging.prefix.as_str()), ("logs", "p/"));
            let read: Logging = serde_json::from_str(&serde_json::to_string(&logging).unwrap()).unwrap();
            assert_eq!(read.keys.map(to_format), format);
        }
        let grant = |permission: &str| {
            let type_ = Type::from_static(Type::GROUP);
            let uri = Some("http://acs.amazonaws.com/groups/global/AllUsers".into());
            let grantee = Grantee { display_name: None, email_address: None, id: None, type_, uri };
            let grant = TargetGrant { grantee: Some(grantee), permission: Some(permission.to_owned().into()) };
            status(|enabled| enabled.target_grants = Some(vec![grant]))
        };
        let format = |format: TargetObjectKeyFormat| status(|to| to.target_object_key_format = Some(format));
        let both = TargetObjectKeyFormat { simple_prefix: Some(SimplePrefix {}), ..partitioned(Some("EventTime")) };
        let neither = TargetObjectKeyFormat { simple_prefix: None, partitioned_prefix: None };
        for (bad, code) in [
            (status(|enabled| enabled.target_bucket = String::new()), "MalformedXML"),
            (status(|enabled| enabled.target_prefix = "p".repeat(769)), "InvalidArgument"),
            (grant("READ"), "NotImplemented"),
            (grant("READ_ACP"), "MalformedXML"),
            (format(both), "MalformedXML"),
            (format(neither), "MalformedXML"),
            (format(partitioned(Some("Yesterday"))), "MalformedXML"),
        ] {
            assert_eq!(from_status(bad).unwrap_err().code().as_str(), code);
        }
    }

    #[test]
    fn a_target_has_the_same_owner_and_keeps_no_log_for_years() {
        let bucket = Bucket {
            id: BucketId(1),
            name: "bkt".into(),
            created: 0,
            region: "us-east-1".into(),
            owner: "owner".into(),
            versioning: Versioning::Never,
            lock: Some(BucketLock::default()),
        };
        let retention = Some(DefaultRetention { mode: RetentionMode::Governance, period: Period::Days(1) });
        assert!(check_target(&bucket, &bucket).is_ok());
        for (target, code) in [
            (Bucket { owner: "other".into(), ..bucket.clone() }, "InvalidTargetBucketForLogging"),
            (Bucket { region: "eu-west-1".into(), ..bucket.clone() }, "CrossLocationLoggingProhibitted"),
            (Bucket { lock: Some(BucketLock { retention }), ..bucket.clone() }, "InvalidTargetBucketForLogging"),
        ] {
            assert_eq!(check_target(&bucket, &target).unwrap_err().code().as_str(), code);
        }
    }
}
