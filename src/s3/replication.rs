//! PutBucketReplication, GetBucketReplication, DeleteBucketReplication: which objects are copied where, and what may be said of that.
//!
//! Source: these operations, and ReplicationRule and what is in it, in the Amazon S3 API reference; "Replication configuration file
//! elements" in the user guide. What S3 says of rules that cannot be is in neither; it is as S3 answers.

use std::collections::HashSet;

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::error::{
    from_objects, invalid_argument, invalid_request, malformed_xml, not_implemented, s3_error, with_detail,
};
use super::rules::{self, Conditions, Ids};
use super::values::{document_limit, signed32};
use super::{Api, identity};
use crate::metadata::{self, Versioning};
use crate::objects::{self, Filter, Replication, ReplicationRule as Rule, Scope};

/// Bytes of the document at most.
const DOCUMENT: u64 = 2 << 20;

fn needs(element: &str) -> S3Error {
    invalid_request(format!(
        "{element} must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 \
         Developer Guide for more information."
    ))
}

/// `arn:aws:iam::ACCOUNT:role/NAME`
fn check_role(role: &str) -> S3Result<()> {
    let pieces: Vec<&str> = role.splitn(6, ':').collect();
    match pieces[..] {
        ["arn", partition, "iam", "", _, resource]
            if !partition.is_empty() && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(invalid_argument("Role", role, "Invalid Role specified in replication configuration")),
    }
}

/// The bucket to copy to, and whether the class of the copies is said.
fn from_destination(destination: Destination) -> S3Result<(String, bool)> {
    for (element, given) in [
        ("Account", destination.account.is_some()),
        ("AccessControlTranslation", destination.access_control_translation.is_some()),
        ("EncryptionConfiguration", destination.encryption_configuration.is_some()),
        ("ReplicationTime", destination.replication_time.is_some()),
        ("Metrics", destination.metrics.is_some()),
    ] {
        if given {
            return Err(not_implemented(element));
        }
    }
    let Some(to) = rules::bucket_of_arn(&destination.bucket) else {
        return Err(invalid_argument("Bucket", &destination.bucket, "Invalid bucket ARN."));
    };
    let standard = match destination.storage_class.as_ref().map(StorageClass::as_str) {
        None => false,
        Some(StorageClass::STANDARD) => true,
        Some(
            StorageClass::REDUCED_REDUNDANCY
            | StorageClass::STANDARD_IA
            | StorageClass::ONEZONE_IA
            | StorageClass::INTELLIGENT_TIERING
            | StorageClass::GLACIER
            | StorageClass::DEEP_ARCHIVE
            | StorageClass::GLACIER_IR
            | StorageClass::OUTPOSTS,
        ) => return Err(not_implemented("StorageClass")),
        Some(_) => return Err(malformed_xml()),
    };
    Ok((to.to_owned(), standard))
}

fn from_criteria(criteria: Option<SourceSelectionCriteria>) -> S3Result<Option<bool>> {
    let Some(SourceSelectionCriteria { replica_modifications, sse_kms_encrypted_objects }) = criteria else {
        return Ok(None);
    };
    if let Some(encrypted) = sse_kms_encrypted_objects
        && rules::from_status(encrypted.status.as_str())?
    {
        return Err(not_implemented("SseKmsEncryptedObjects"));
    }
    replica_modifications.map(|changes| rules::from_status(changes.status.as_str())).transpose()
}

fn from_scope(prefix: Option<String>, filter: Option<ReplicationRuleFilter>) -> S3Result<Option<Scope>> {
    match (prefix, filter) {
        (None, None) => Ok(None),
        (Some(prefix), None) => Ok(Some(Scope::Prefix(rules::from_prefix(prefix)?))),
        (None, Some(ReplicationRuleFilter { and, prefix, tag })) => {
            let outside = Conditions { prefix, tags: tag.into_iter().collect(), ..Conditions::default() };
            let and = and.map(|and| Conditions {
                prefix: and.prefix,
                tags: and.tags.unwrap_or_default(),
                ..Conditions::default()
            });
            Ok(Some(Scope::Filter(rules::from_filter(outside, and)?)))
        }
        (Some(_), Some(_)) => Err(malformed_xml()),
    }
}

fn to_filter(filter: Filter) -> ReplicationRuleFilter {
    let joined = filter.conditions() > 1;
    let mut tags = filter.tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) });
    if joined {
        let and = ReplicationRuleAndOperator {
            prefix: filter.prefix,
            tags: Some(tags.collect()).filter(|tags: &TagSet| !tags.is_empty()),
        };
        ReplicationRuleFilter { and: Some(and), ..Default::default() }
    } else {
        ReplicationRuleFilter { and: None, prefix: filter.prefix, tag: tags.next() }
    }
}

fn from_rule(rule: ReplicationRule, ids: &mut Ids) -> S3Result<Rule> {
    let id = ids.add(rule.id)?;
    let enabled = rules::from_status(rule.status.as_str())?;
    let scope = from_scope(rule.prefix, rule.filter)?;
    let delete_markers = match rule.delete_marker_replication {
        None => None,
        Some(DeleteMarkerReplication { status }) => {
            Some(rules::from_status(status.as_ref().ok_or_else(malformed_xml)?.as_str())?)
        }
    };
    let priority = match rule.priority {
        None => None,
        Some(given) => Some(u32::try_from(given).map_err(|_| {
            invalid_argument("Priority", &given.to_string(), "Priority must be between 0 and 2147483647")
        })?),
    };
    if let Some(filter) = scope.as_ref().and_then(Scope::filter) {
        if priority.is_none() {
            return Err(needs("Priority"));
        }
        if delete_markers.is_none() {
            return Err(needs("DeleteMarkerReplication"));
        }
        if delete_markers == Some(true) && !filter.tags.is_empty() {
            return Err(invalid_request(
                "Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide \
                 for more information.",
            ));
        }
    }
    let (to, standard) = from_destination(rule.destination)?;
    let existing = rule.existing_object_replication;
    let existing = existing.map(|existing| rules::from_status(existing.status.as_str())).transpose()?;
    let replica_changes = from_criteria(rule.source_selection_criteria)?;
    Ok(Rule { id, enabled, priority, scope, to, standard, delete_markers, existing, replica_changes })
}

fn to_rule(rule: Rule) -> ReplicationRule {
    let (prefix, filter) = match rule.scope {
        None => (None, None),
        Some(Scope::Prefix(prefix)) => (Some(prefix), None),
        Some(Scope::Filter(filter)) => (None, Some(to_filter(filter))),
    };
    let markers = |on| DeleteMarkerReplication { status: Some(rules::to_status(on)) };
    let changes = |on| SourceSelectionCriteria {
        replica_modifications: Some(ReplicaModifications { status: rules::to_status(on) }),
        sse_kms_encrypted_objects: None,
    };
    ReplicationRule {
        delete_marker_replication: rule.delete_markers.map(markers),
        destination: Destination {
            access_control_translation: None,
            account: None,
            bucket: rules::arn_of_bucket(&rule.to),
            encryption_configuration: None,
            metrics: None,
            replication_time: None,
            storage_class: rule.standard.then(|| StorageClass::from_static(StorageClass::STANDARD)),
        },
        existing_object_replication: rule.existing.map(|on| ExistingObjectReplication { status: rules::to_status(on) }),
        filter,
        id: Some(rule.id),
        prefix,
        priority: rule.priority.map(signed32),
        source_selection_criteria: rule.replica_changes.map(changes),
        status: rules::to_status(rule.enabled),
    }
}

/// Rules without filters do not choose between each other.
fn check_together(all: &[Rule]) -> S3Result<()> {
    let mut priorities = HashSet::new();
    if let Some(twice) = all.iter().filter_map(|rule| rule.priority).find(|&priority| !priorities.insert(priority)) {
        return Err(invalid_request(format!("Found duplicate priority {twice}")));
    }
    let mut prefixes: Vec<&str> = Vec::new();
    for rule in all.iter().filter(|rule| rule.priority.is_none()) {
        let prefix = rule.scope.as_ref().and_then(Scope::prefix).unwrap_or_default();
        if let Some(other) = prefixes.iter().find(|other| other.starts_with(prefix) || prefix.starts_with(**other)) {
            return Err(invalid_request(format!("Found overlapping prefixes '{other}' and '{prefix}'")));
        }
        prefixes.push(prefix);
    }
    Ok(())
}

fn from_configuration(configuration: ReplicationConfiguration) -> S3Result<Replication> {
    let ReplicationConfiguration { role, rules: given } = configuration;
    check_role(&role)?;
    if given.is_empty() || given.len() > rules::RULES {
        return Err(malformed_xml());
    }
    let mut ids = Ids::default();
    let all = given.into_iter().map(|rule| from_rule(rule, &mut ids)).collect::<S3Result<Vec<Rule>>>()?;
    check_together(&all)?;
    Ok(Replication { role, rules: all })
}

/// The buckets to copy to must be there, and keep versions.
async fn check_destinations(api: &Api, source: &str, owner: &str, replication: &Replication) -> S3Result<()> {
    let names: HashSet<&str> = replication.rules.iter().map(|rule| rule.to.as_str()).collect();
    for name in names {
        if name == source {
            return Err(invalid_request("Destination bucket cannot be the same as the source bucket."));
        }
        match api.store.bucket(name).await {
            Ok(bucket) if bucket.owner != owner => {
                return Err(s3_error("AccessDenied", StatusCode::FORBIDDEN, "Access Denied"));
            }
            Ok(bucket) if bucket.versioning == Versioning::Enabled => {}
            Ok(_) => return Err(invalid_request("Destination bucket must have versioning enabled.")),
            Err(objects::Error::Metadata(metadata::Error::NoSuchBucket(_))) => {
                return Err(invalid_request("Destination bucket must exist."));
            }
            Err(error) => return Err(from_objects(error)),
        }
    }
    Ok(())
}

pub(super) async fn get_bucket_replication(
    api: &Api,
    request: S3Request<GetBucketReplicationInput>,
) -> S3Result<S3Response<GetBucketReplicationOutput>> {
    match api.store.bucket_replication(&request.input.bucket).await.map_err(from_objects)? {
        Some(Replication { role, rules }) => Ok(S3Response::new(GetBucketReplicationOutput {
            replication_configuration: Some(ReplicationConfiguration {
                role,
                rules: rules.into_iter().map(to_rule).collect(),
            }),
        })),
        None => {
            let message = "The replication configuration was not found";
            let error = s3_error("ReplicationConfigurationNotFoundError", StatusCode::NOT_FOUND, message);
            Err(with_detail(error, "BucketName", &request.input.bucket))
        }
    }
}

pub(super) async fn put_bucket_replication(
    api: &Api,
    request: S3Request<PutBucketReplicationInput>,
) -> S3Result<S3Response<PutBucketReplicationOutput>> {
    document_limit(&request.headers, DOCUMENT)?;
    let owner = identity(&request)?.id;
    let input = request.input;
    if input.token.is_some() {
        return Err(not_implemented("x-amz-bucket-object-lock-token"));
    }
    let replication = from_configuration(input.replication_configuration)?;
    // Before the others are looked at: a bucket that is not there is the first thing to say.
    let bucket = api.store.bucket(&input.bucket).await.map_err(from_objects)?;
    if bucket.versioning != Versioning::Enabled {
        return Err(super::error::from_metadata(metadata::Error::NotVersioned(bucket.name)));
    }
    check_destinations(api, &input.bucket, &owner, &replication).await?;
    api.store.set_bucket_replication(input.bucket, Some(replication)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketReplicationOutput::default()))
}

pub(super) async fn delete_bucket_replication(
    api: &Api,
    request: S3Request<DeleteBucketReplicationInput>,
) -> S3Result<S3Response<DeleteBucketReplicationOutput>> {
    api.store.set_bucket_replication(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketReplicationOutput::default(), StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/copier";

    fn destination() -> Destination {
        Destination {
            access_control_translation: None,
            account: None,
            bucket: "arn:aws:s3:::copies".into(),
            encryption_configuration: None,
            metrics: None,
            replication_time: None,
            storage_class: None,
        }
    }

    fn markers(on: bool) -> Option<DeleteMarkerReplication> {
        Some(DeleteMarkerReplication { status: Some(rules::to_status(on)) })
    }

    fn tag(key: &str) -> Tag {
        Tag { key: Some(key.into()), value: Some("v".into()) }
    }

    fn rule(id: &str, priority: i32) -> ReplicationRule {
        ReplicationRule {
            delete_marker_replication: markers(false),
            destination: destination(),
            existing_object_replication: None,
            filter: Some(ReplicationRuleFilter::default()),
            id: Some(id.into()),
            prefix: None,
            priority: Some(priority),
            source_selection_criteria: None,
            status: rules::to_status(true),
        }
    }

    fn legacy(id: &str, prefix: Option<&str>) -> ReplicationRule {
        ReplicationRule {
            delete_marker_replication: None,
            filter: None,
            prefix: prefix.map(str::to_owned),
            priority: None,
            ..rule(id, 0)
        }
    }

    fn of(rules: Vec<ReplicationRule>) -> S3Result<Replication> {
        from_configuration(ReplicationConfiguration { role: ROLE.into(), rules })
    }

    #[test]
    fn rules_come_back_as_they_were_given() {
        let and = ReplicationRuleAndOperator { prefix: Some("p".into()), tags: Some(vec![tag("a"), tag("b")]) };
        let whole = ReplicationRule {
            filter: Some(ReplicationRuleFilter { and: Some(and), ..Default::default() }),
            destination: Destination {
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                ..destination()
            },
            existing_object_replication: Some(ExistingObjectReplication { status: rules::to_status(true) }),
            source_selection_criteria: Some(SourceSelectionCriteria {
                replica_modifications: Some(ReplicaModifications { status: rules::to_status(true) }),
                sse_kms_encrypted_objects: None,
            }),
            status: rules::to_status(false),
            ..rule("whole", 7)
        };
        let tagged = ReplicationRule {
            filter: Some(ReplicationRuleFilter { tag: Some(tag("a")), ..Default::default() }),
            ..rule("tagged", 8)
        };
        let every = ReplicationRule { delete_marker_replication: markers(true), ..rule("every", 9) };
        let given = vec![whole, tagged, every, legacy("old", Some("x/")), legacy("older", Some("y/"))];
        let stored = of(given.clone()).unwrap();
        let stored: Replication = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(stored.role, ROLE);
        assert_eq!(stored.rules.into_iter().map(to_rule).collect::<Vec<_>>(), given);
        assert!(of(vec![legacy("all", None)]).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_as_s3_says_it() {
        let to = |bucket: &str| Destination { bucket: bucket.into(), ..destination() };
        let class = |class: &str| Destination { storage_class: Some(class.to_owned().into()), ..destination() };
        let metrics = Metrics { event_threshold: None, status: rules::to_status(true) };
        let tagged = Some(ReplicationRuleFilter { tag: Some(tag("a")), ..Default::default() });
        let kms = SourceSelectionCriteria {
            replica_modifications: None,
            sse_kms_encrypted_objects: Some(SseKmsEncryptedObjects { status: rules::to_status(true) }),
        };
        for (bad, code, message) in [
            (vec![], "MalformedXML", ""),
            (vec![rule("a", 1), rule("a", 2)], "InvalidArgument", "Rule ID must be unique"),
            (vec![rule("a", 1), rule("b", 1)], "InvalidRequest", "Found duplicate priority 1"),
            (vec![rule("a", -1)], "InvalidArgument", "Priority must be"),
            (vec![ReplicationRule { priority: None, ..rule("a", 1) }], "InvalidRequest", "Priority must be specified"),
            (
                vec![ReplicationRule { delete_marker_replication: None, ..rule("a", 1) }],
                "InvalidRequest",
                "DeleteMarkerReplication must be specified",
            ),
            (
                vec![ReplicationRule { delete_marker_replication: markers(true), filter: tagged, ..rule("a", 1) }],
                "InvalidRequest",
                "Delete marker replication is not supported",
            ),
            (vec![ReplicationRule { prefix: Some("p".into()), ..rule("a", 1) }], "MalformedXML", ""),
            (vec![ReplicationRule { status: "on".to_owned().into(), ..rule("a", 1) }], "MalformedXML", ""),
            (
                vec![legacy("a", Some("x")), legacy("b", Some("x/y"))],
                "InvalidRequest",
                "Found overlapping prefixes 'x' and 'x/y'",
            ),
            (vec![legacy("a", None), legacy("b", Some("x"))], "InvalidRequest", "Found overlapping prefixes"),
            (vec![ReplicationRule { destination: to("copies"), ..rule("a", 1) }], "InvalidArgument", "Invalid bucket"),
            (vec![ReplicationRule { destination: class("GLACIER"), ..rule("a", 1) }], "NotImplemented", ""),
            (vec![ReplicationRule { destination: class("COLD"), ..rule("a", 1) }], "MalformedXML", ""),
            (
                vec![ReplicationRule {
                    destination: Destination { metrics: Some(metrics), ..destination() },
                    ..rule("a", 1)
                }],
                "NotImplemented",
                "",
            ),
            (vec![ReplicationRule { source_selection_criteria: Some(kms), ..rule("a", 1) }], "NotImplemented", ""),
        ] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.code().as_str(), code, "{error:?}");
            assert!(error.message().unwrap().starts_with(message), "{error:?}");
        }
        for role in ["", "copier", "arn:aws:iam::1:user/x", "arn:aws:iam::1:role/"] {
            let rules = vec![rule("a", 1)];
            let error = from_configuration(ReplicationConfiguration { role: role.into(), rules }).unwrap_err();
            assert_eq!(error.code().as_str(), "InvalidArgument", "{role}");
        }
    }
}
