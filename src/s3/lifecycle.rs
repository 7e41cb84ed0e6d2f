//! PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration, DeleteBucketLifecycle: what becomes of objects with time, and
//! what may be said of that.
//!
//! Source: these operations, and LifecycleRule and what is in it, in the Amazon S3 API reference. What S3 says of rules that cannot
//! be is in neither; it is as S3 answers.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{
    from_objects, invalid_argument, invalid_request, malformed_xml, missing_body, not_implemented, s3_error,
    with_detail,
};
use super::rules::{self, Conditions, Ids};
use super::values::{document_limit, millis, signed, signed32, timestamp};
use crate::objects::{Expire, Filter, Lifecycle, LifecycleRule as Rule, NoncurrentExpire, Scope};

/// Bytes of the document at most. S3 names no limit; a thousand of the longest rules that are of any use are shorter.
const DOCUMENT: u64 = 4 << 20;
/// Noncurrent versions that a rule may keep.
const NEWER: i32 = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A number of days that `action` calls `name`.
fn days(name: &str, action: &str, given: Option<i32>) -> S3Result<u32> {
    match given.and_then(|given| u32::try_from(given).ok()).filter(|&days| days > 0) {
        Some(days) => Ok(days),
        None => {
            let message = format!("'{name}' for {action} action must be a positive integer");
            Err(invalid_argument(name, &given.map(|days| days.to_string()).unwrap_or_default(), message))
        }
    }
}

/// A class to which objects should go: there is none.
fn refuse_class(class: Option<&TransitionStorageClass>) -> S3Result<()> {
    const CLASSES: [&str; 6] =
        ["GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"];
    match class.map(TransitionStorageClass::as_str) {
        Some(class) if CLASSES.contains(&class) => Err(not_implemented("Transition")),
        _ => Err(malformed_xml()),
    }
}

fn midnight(date: &Timestamp) -> S3Result<i64> {
    let at = millis(date);
    if at % DAY_MS == 0 {
        return Ok(at);
    }
    Err(invalid_argument("Date", &super::values::http_date(at), "'Date' must be at midnight GMT"))
}

fn from_expiration(expiration: LifecycleExpiration) -> S3Result<Expire> {
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(given), None, None) => Ok(Expire::Days(days("Days", "Expiration", Some(given))?)),
        (None, Some(date), None) => Ok(Expire::Date(midnight(&date)?)),
        (None, None, Some(marker)) => Ok(Expire::LoneMarker(marker)),
        _ => Err(malformed_xml()),
    }
}

fn from_noncurrent(noncurrent: NoncurrentVersionExpiration, has_filter: bool) -> S3Result<NoncurrentExpire> {
    let action = "NoncurrentVersionExpiration";
    let after = days("NoncurrentDays", action, noncurrent.noncurrent_days)?;
    let keep = noncurrent.newer_noncurrent_versions;
    if keep.is_some() && !has_filter {
        return Err(invalid_request("NewerNoncurrentVersions element can only be used in Lifecycle V2."));
    }
    let keep = keep.map(|given| match days("NewerNoncurrentVersions", action, Some(given)) {
        Ok(_) if given > NEWER => {
            let message = format!("'NewerNoncurrentVersions' for {action} action must be at most {NEWER}");
            Err(invalid_argument("NewerNoncurrentVersions", &given.to_string(), message))
        }
        other => other,
    });
    Ok(NoncurrentExpire { days: after, keep: keep.transpose()? })
}

/// Uploads and delete markers have neither tags nor sizes.
fn only_prefixes(filter: Option<&Filter>, action: &str) -> S3Result<()> {
    let Some(filter) = filter else { return Ok(()) };
    if !filter.tags.is_empty() {
        return Err(invalid_request(format!("{action} cannot be specified with Tags.")));
    }
    if filter.larger_than.is_some() || filter.smaller_than.is_some() {
        return Err(invalid_request(format!("{action} cannot be specified with Object Size.")));
    }
    Ok(())
}

fn from_scope(prefix: Option<String>, filter: Option<LifecycleRuleFilter>) -> S3Result<Scope> {
    match (prefix, filter) {
        (Some(prefix), None) => Ok(Scope::Prefix(rules::from_prefix(prefix)?)),
        (None, Some(filter)) => {
            let LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag } = filter;
            let outside = Conditions {
                prefix,
                tags: tag.into_iter().collect(),
                larger_than: object_size_greater_than,
                smaller_than: object_size_less_than,
            };
            let and = and.map(|and| Conditions {
                prefix: and.prefix,
                tags: and.tags.unwrap_or_default(),
                larger_than: and.object_size_greater_than,
                smaller_than: and.object_size_less_than,
            });
            Ok(Scope::Filter(rules::from_filter(outside, and)?))
        }
        _ => Err(malformed_xml()),
    }
}

fn to_scope(scope: Scope) -> (Option<String>, Option<LifecycleRuleFilter>) {
    let filter = match scope {
        Scope::Prefix(prefix) => return (Some(prefix), None),
        Scope::Filter(filter) => filter,
    };
    let joined = filter.conditions() > 1;
    let Filter { prefix, tags, larger_than, smaller_than } = filter;
    let mut tags = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) });
    let (larger_than, smaller_than) = (larger_than.map(signed), smaller_than.map(signed));
    let filter = if joined {
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: larger_than,
            object_size_less_than: smaller_than,
            prefix,
            tags: Some(tags.collect()).filter(|tags: &TagSet| !tags.is_empty()),
        };
        LifecycleRuleFilter { and: Some(and), ..Default::default() }
    } else {
        LifecycleRuleFilter {
            and: None,
            object_size_greater_than: larger_than,
            object_size_less_than: smaller_than,
            prefix,
            tag: tags.next(),
        }
    };
    (None, Some(filter))
}

fn from_rule(rule: LifecycleRule, ids: &mut Ids) -> S3Result<Rule> {
    let id = ids.add(rule.id)?;
    let enabled = rules::from_status(rule.status.as_str())?;
    let scope = from_scope(rule.prefix, rule.filter)?;
    let filter = scope.filter();
    let expire = rule.expiration.map(from_expiration).transpose()?;
    if matches!(expire, Some(Expire::LoneMarker(_))) {
        only_prefixes(filter, "ExpiredObjectDeleteMarker")?;
    }
    let noncurrent = rule.noncurrent_version_expiration;
    let noncurrent = noncurrent.map(|given| from_noncurrent(given, filter.is_some())).transpose()?;
    let abort_days = match rule.abort_incomplete_multipart_upload {
        None => None,
        Some(abort) => {
            let action = "AbortIncompleteMultipartUpload";
            only_prefixes(filter, action)?;
            Some(days("DaysAfterInitiation", action, abort.days_after_initiation)?)
        }
    };
    for transition in rule.transitions.iter().flatten() {
        if transition.days.is_some() == transition.date.is_some() {
            return Err(malformed_xml());
        }
        transition.date.as_ref().map(midnight).transpose()?;
        refuse_class(transition.storage_class.as_ref())?;
    }
    for transition in rule.noncurrent_version_transitions.iter().flatten() {
        refuse_class(transition.storage_class.as_ref())?;
    }
    if expire.is_none() && noncurrent.is_none() && abort_days.is_none() {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    Ok(Rule { id, enabled, scope, expire, noncurrent, abort_days })
}

fn to_rule(rule: Rule) -> LifecycleRule {
    let (prefix, filter) = to_scope(rule.scope);
    let expiration = rule.expire.map(|expire| match expire {
        Expire::Days(days) => LifecycleExpiration { days: Some(signed32(days)), ..Default::default() },
        Expire::Date(at) => LifecycleExpiration { date: Some(timestamp(at)), ..Default::default() },
        Expire::LoneMarker(marker) => {
            LifecycleExpiration { expired_object_delete_marker: Some(marker), ..Default::default() }
        }
    });
    let noncurrent_version_expiration = rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
        newer_noncurrent_versions: noncurrent.keep.map(signed32),
        noncurrent_days: Some(signed32(noncurrent.days)),
    });
    let abort = |days| AbortIncompleteMultipartUpload { days_after_initiation: Some(signed32(days)) };
    LifecycleRule {
        abort_incomplete_multipart_upload: rule.abort_days.map(abort),
        expiration,
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration,
        noncurrent_version_transitions: None,
        prefix,
        status: rules::to_status(rule.enabled),
        transitions: None,
    }
}

fn from_configuration(configuration: BucketLifecycleConfiguration) -> S3Result<Vec<Rule>> {
    let given = configuration.rules;
    if given.is_empty() || given.len() > rules::RULES {
        return Err(malformed_xml());
    }
    let mut ids = Ids::default();
    given.into_iter().map(|rule| from_rule(rule, &mut ids)).collect()
}

/// `x-amz-transition-default-minimum-object-size`: whether it varies by class.
fn from_minimum(minimum: Option<&TransitionDefaultMinimumObjectSize>) -> S3Result<bool> {
    match minimum.map(TransitionDefaultMinimumObjectSize::as_str) {
        None | Some(TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K) => Ok(false),
        Some(TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS) => Ok(true),
        Some(other) => {
            let message = "The value specified for TransitionDefaultMinimumObjectSize is not valid";
            Err(invalid_argument("x-amz-transition-default-minimum-object-size", other, message))
        }
    }
}

fn to_minimum(by_class: bool) -> TransitionDefaultMinimumObjectSize {
    TransitionDefaultMinimumObjectSize::from_static(if by_class {
        TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS
    } else {
        TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K
    })
}

pub(super) async fn get_bucket_lifecycle_configuration(
    api: &Api,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    match api.store.bucket_lifecycle(&request.input.bucket).await.map_err(from_objects)? {
        Some(Lifecycle { rules, minimum_by_class }) => Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules.into_iter().map(to_rule).collect()),
            transition_default_minimum_object_size: Some(to_minimum(minimum_by_class)),
        })),
        None => {
            let message = "The lifecycle configuration does not exist";
            let error = s3_error("NoSuchLifecycleConfiguration", StatusCode::NOT_FOUND, message);
            Err(with_detail(error, "BucketName", &request.input.bucket))
        }
    }
}

pub(super) async fn put_bucket_lifecycle_configuration(
    api: &Api,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    document_limit(&request.headers, DOCUMENT)?;
    let input = request.input;
    let minimum_by_class = from_minimum(input.transition_default_minimum_object_size.as_ref())?;
    let rules = from_configuration(input.lifecycle_configuration.ok_or_else(missing_body)?)?;
    let lifecycle = Lifecycle { rules, minimum_by_class };
    api.store.set_bucket_lifecycle(input.bucket, Some(lifecycle)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: Some(to_minimum(minimum_by_class)),
    }))
}

pub(super) async fn delete_bucket_lifecycle(
    api: &Api,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    api.store.set_bucket_lifecycle(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketLifecycleOutput::default(), StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn after(days: i32) -> Option<LifecycleExpiration> {
        Some(LifecycleExpiration { days: Some(days), ..Default::default() })
    }

    fn marker() -> Option<LifecycleExpiration> {
        Some(LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() })
    }

    fn on(at: i64) -> Option<LifecycleExpiration> {
        Some(LifecycleExpiration { date: Some(timestamp(at)), ..Default::default() })
    }

    fn tagged() -> Option<LifecycleRuleFilter> {
        let tag = Tag { key: Some("k".into()), value: Some("v".into()) };
        Some(LifecycleRuleFilter { tag: Some(tag), ..Default::default() })
    }

    fn sized() -> Option<LifecycleRuleFilter> {
        Some(LifecycleRuleFilter { object_size_less_than: Some(5), ..Default::default() })
    }

    fn noncurrent(days: Option<i32>, newer: Option<i32>) -> Option<NoncurrentVersionExpiration> {
        Some(NoncurrentVersionExpiration { newer_noncurrent_versions: newer, noncurrent_days: days })
    }

    fn abort(days: Option<i32>) -> Option<AbortIncompleteMultipartUpload> {
        Some(AbortIncompleteMultipartUpload { days_after_initiation: days })
    }

    fn rule() -> LifecycleRule {
        LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration: after(1),
            filter: Some(LifecycleRuleFilter::default()),
            id: None,
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    fn transition(class: Option<&str>, days: Option<i32>, date: Option<i64>) -> Option<TransitionList> {
        let storage_class = class.map(|class| class.to_owned().into());
        Some(vec![Transition { date: date.map(timestamp), days, storage_class }])
    }

    fn stored(rules: Vec<LifecycleRule>) -> S3Result<Vec<Rule>> {
        from_configuration(BucketLifecycleConfiguration { rules })
    }

    #[test]
    fn rules_come_back_as_they_were_given() {
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: Some(0),
            object_size_less_than: Some(1 << 40),
            prefix: Some("logs/".into()),
            tags: Some(vec![Tag { key: Some("k".into()), value: Some(String::new()) }]),
        };
        let whole = LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration: on(1_700_006_400_000),
            filter: Some(LifecycleRuleFilter { and: Some(and), ..Default::default() }),
            id: Some("ä".repeat(255)),
            noncurrent_version_expiration: noncurrent(Some(3), Some(100)),
            status: ExpirationStatus::from_static(ExpirationStatus::DISABLED),
            ..rule()
        };
        let legacy = LifecycleRule {
            id: Some("legacy".into()),
            filter: None,
            prefix: Some(String::new()),
            expiration: marker(),
            abort_incomplete_multipart_upload: abort(Some(7)),
            ..rule()
        };
        let named = |id: &str, filter| LifecycleRule { id: Some(id.into()), filter, ..rule() };
        let given = vec![whole, legacy, named("a", tagged()), named("b", sized()), named("c", rule().filter)];
        let lifecycle = Lifecycle { rules: stored(given.clone()).unwrap(), minimum_by_class: false };
        let json = serde_json::to_string(&lifecycle).unwrap();
        let lifecycle: Lifecycle = serde_json::from_str(&json).unwrap();
        assert_eq!(lifecycle.rules.into_iter().map(to_rule).collect::<Vec<_>>(), given);
        let many = stored(vec![rule(); 1000]).unwrap();
        assert!(many[0].id.len() == 32 && many[0].id != many[1].id);
    }

    #[test]
    fn what_is_wrong_is_said_as_s3_says_it() {
        let malformed = "The XML you provided was not well-formed or did not validate against our published schema";
        let none = LifecycleRule { expiration: None, ..rule() };
        let legacy = LifecycleRule { filter: None, prefix: Some("p".into()), ..rule() };
        let named = |id: &str| LifecycleRule { id: Some(id.into()), ..rule() };
        let unbuilt = "A header or parameter you provided implies functionality that is not implemented.";
        for (bad, code, message) in [
            (vec![], "MalformedXML", malformed),
            (vec![rule(); 1001], "MalformedXML", malformed),
            (
                vec![named("a"), named("a")],
                "InvalidArgument",
                "Rule ID must be unique. Found same ID for more than one rule",
            ),
            (vec![named(&"i".repeat(256))], "InvalidArgument", "ID length should not exceed allowed limit of 255"),
            (vec![LifecycleRule { status: "enabled".to_owned().into(), ..rule() }], "MalformedXML", malformed),
            (vec![LifecycleRule { prefix: Some("p".into()), ..rule() }], "MalformedXML", malformed),
            (vec![LifecycleRule { filter: None, ..rule() }], "MalformedXML", malformed),
            (vec![none.clone()], "InvalidRequest", "At least one action needs to be specified in a rule"),
            (
                vec![LifecycleRule { expiration: after(0), ..rule() }],
                "InvalidArgument",
                "'Days' for Expiration action must be a positive integer",
            ),
            (
                vec![LifecycleRule { expiration: after(-1), ..rule() }],
                "InvalidArgument",
                "'Days' for Expiration action must be a positive integer",
            ),
            (
                vec![LifecycleRule { expiration: on(1_700_006_401_000), ..rule() }],
                "InvalidArgument",
                "'Date' must be at midnight GMT",
            ),
            (vec![LifecycleRule { expiration: Some(Default::default()), ..rule() }], "MalformedXML", malformed),
            (
                vec![LifecycleRule {
                    expiration: Some(LifecycleExpiration {
                        days: Some(1),
                        expired_object_delete_marker: Some(true),
                        date: None,
                    }),
                    ..rule()
                }],
                "MalformedXML",
                malformed,
            ),
            (
                vec![LifecycleRule { expiration: marker(), filter: tagged(), ..rule() }],
                "InvalidRequest",
                "ExpiredObjectDeleteMarker cannot be specified with Tags.",
            ),
            (
                vec![LifecycleRule { expiration: marker(), filter: sized(), ..rule() }],
                "InvalidRequest",
                "ExpiredObjectDeleteMarker cannot be specified with Object Size.",
            ),
            (
                vec![LifecycleRule { abort_incomplete_multipart_upload: abort(Some(1)), filter: tagged(), ..rule() }],
                "InvalidRequest",
                "AbortIncompleteMultipartUpload cannot be specified with Tags.",
            ),
            (
                vec![LifecycleRule { abort_incomplete_multipart_upload: abort(Some(0)), ..rule() }],
                "InvalidArgument",
                "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
            ),
            (
                vec![LifecycleRule { noncurrent_version_expiration: noncurrent(None, Some(1)), ..rule() }],
                "InvalidArgument",
                "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
            ),
            (
                vec![LifecycleRule { noncurrent_version_expiration: noncurrent(Some(1), Some(0)), ..rule() }],
                "InvalidArgument",
                "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be a positive integer",
            ),
            (
                vec![LifecycleRule { noncurrent_version_expiration: noncurrent(Some(1), Some(101)), ..rule() }],
                "InvalidArgument",
                "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be at most 100",
            ),
            (
                vec![LifecycleRule { noncurrent_version_expiration: noncurrent(Some(1), Some(1)), ..legacy }],
                "InvalidRequest",
                "NewerNoncurrentVersions element can only be used in Lifecycle V2.",
            ),
            (
                vec![LifecycleRule { transitions: transition(Some("GLACIER"), Some(1), None), ..none.clone() }],
                "NotImplemented",
                unbuilt,
            ),
            (
                vec![LifecycleRule { transitions: transition(Some("STANDARD"), Some(1), None), ..rule() }],
                "MalformedXML",
                malformed,
            ),
            (
                vec![LifecycleRule { transitions: transition(Some("GLACIER"), Some(1), Some(0)), ..rule() }],
                "MalformedXML",
                malformed,
            ),
            (
                vec![LifecycleRule { transitions: transition(Some("GLACIER"), None, Some(1000)), ..rule() }],
                "InvalidArgument",
                "'Date' must be at midnight GMT",
            ),
            (
                vec![LifecycleRule {
                    noncurrent_version_transitions: Some(vec![NoncurrentVersionTransition {
                        newer_noncurrent_versions: None,
                        noncurrent_days: Some(1),
                        storage_class: Some("GLACIER".to_owned().into()),
                    }]),
                    ..none
                }],
                "NotImplemented",
                unbuilt,
            ),
        ] {
            let said = format!("{:.300}", format!("{bad:?}"));
            let error = stored(bad).unwrap_err();
            assert_eq!((error.code().as_str(), error.message().unwrap()), (code, message), "{said}");
        }
    }
}
