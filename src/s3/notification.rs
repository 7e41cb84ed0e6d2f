//! PutBucketNotificationConfiguration, GetBucketNotificationConfiguration: who is told of what happens in a bucket.
//!
//! There are no targets yet, so whatever names one is refused, and no bucket tells anybody of anything; what can be wrong with a
//! configuration besides is said first.
//!
//! Source: these operations in the Amazon S3 API reference, and "Event notification types and destinations" in the user guide.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, malformed_xml, not_implemented};
use super::rules::Ids;
use crate::objects::Notification;

/// Configurations of a bucket at most.
const MOST: usize = 100;
/// Bytes of a filter's value at most.
const VALUE_LEN: usize = 1024;

const EVENTS: [&str; 27] = [
    "s3:IntelligentTiering",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:ObjectAcl:Put",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Put",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ObjectRestore:Post",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Delete",
    "s3:ObjectTagging:Put",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationReplicatedAfterThreshold",
];

/// A filter's prefix and suffix.
fn from_filter(filter: Option<NotificationConfigurationFilter>) -> S3Result<(Option<String>, Option<String>)> {
    let rules = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules).unwrap_or_default();
    let (mut prefix, mut suffix) = (None, None);
    for FilterRule { name, value } in rules {
        let (name, value) = (name.ok_or_else(malformed_xml)?, value.ok_or_else(malformed_xml)?);
        let known = name.as_str().to_ascii_lowercase();
        let place = match known.as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => {
                let message = "filter rule name must be either prefix or suffix";
                return Err(invalid_argument("FilterRule.Name", name.as_str(), message));
            }
        };
        if value.len() > VALUE_LEN {
            let message = format!("Size of filter rule value cannot exceed {VALUE_LEN} bytes in UTF-8 representation");
            return Err(invalid_argument("FilterRule.Value", &value, message));
        }
        if place.replace(value).is_some() {
            let message = format!("Cannot specify more than one {known} rule in a filter.");
            return Err(invalid_argument("FilterRule.Name", &known, message));
        }
    }
    Ok((prefix, suffix))
}

/// An ARN of a target: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`. MinIO's clients know queues of another partition.
fn check_arn(arn: &str, service: &str) -> S3Result<()> {
    let pieces: Vec<&str> = arn.splitn(6, ':').collect();
    match pieces[..] {
        ["arn", "aws" | "aws-cn" | "aws-us-gov" | "minio", of, _, account, resource]
            if of == service && !account.is_empty() && !resource.is_empty() =>
        {
            Ok(())
        }
        ["arn", _, of, ..] if of != service && !of.is_empty() => {
            Err(invalid_argument("arn", arn, format!("The ARN is not one of the service {service}")))
        }
        _ => Err(invalid_argument("arn", arn, "The ARN could not be parsed")),
    }
}

fn from_configuration(configuration: NotificationConfiguration) -> S3Result<Vec<Notification>> {
    let NotificationConfiguration {
        event_bridge_configuration,
        lambda_function_configurations,
        queue_configurations,
        topic_configurations,
    } = configuration;
    if event_bridge_configuration.is_some() {
        return Err(not_implemented("EventBridgeConfiguration"));
    }
    let queues = queue_configurations.into_iter().flatten().map(|c| ("sqs", c.queue_arn, c.id, c.events, c.filter));
    let topics = topic_configurations.into_iter().flatten().map(|c| ("sns", c.topic_arn, c.id, c.events, c.filter));
    let functions = lambda_function_configurations
        .into_iter()
        .flatten()
        .map(|c| ("lambda", c.lambda_function_arn, c.id, c.events, c.filter));
    let mut ids = Ids::default();
    let mut all: Vec<Notification> = Vec::new();
    for (service, target, id, events, filter) in queues.chain(topics).chain(functions) {
        let events: Vec<String> = events.into_iter().map(String::from).collect();
        if events.is_empty() || events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
            return Err(malformed_xml());
        }
        let (prefix, suffix) = from_filter(filter)?;
        check_arn(&target, service)?;
        let notification = Notification { id: ids.add(id)?, target, events, prefix, suffix };
        if all.iter().any(|other| other.overlaps(&notification)) {
            let message = "Configurations overlap. Configurations on the same bucket cannot share a common event type.";
            return Err(invalid_argument("Event", &notification.events.join(", "), message));
        }
        all.push(notification);
        if all.len() > MOST {
            return Err(malformed_xml());
        }
    }
    Ok(all)
}

pub(super) async fn get_bucket_notification_configuration(
    api: &Api,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
}

pub(super) async fn put_bucket_notification_configuration(
    api: &Api,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let notifications = from_configuration(request.input.notification_configuration)?;
    api.store.bucket(&request.input.bucket).await.map_err(from_objects)?;
    match notifications.first() {
        // That a target is not to be asked does not make one of it.
        Some(notification) => {
            let message = "Unable to validate the following destination configurations";
            Err(invalid_argument(&notification.target, "The destination does not exist", message))
        }
        None => Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";

    fn queue(id: &str, arn: &str, events: &[&str], rules: &[(&str, &str)]) -> QueueConfiguration {
        let rules: FilterRuleList = rules
            .iter()
            .map(|&(name, value)| FilterRule { name: Some(name.to_owned().into()), value: Some(value.to_owned()) })
            .collect();
        QueueConfiguration {
            events: events.iter().map(|&event| Event::from(event.to_owned())).collect(),
            filter: Some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(rules) }) }),
            id: Some(id.to_owned()),
            queue_arn: arn.to_owned(),
        }
    }

    fn of(queues: Vec<QueueConfiguration>) -> S3Result<Vec<Notification>> {
        from_configuration(NotificationConfiguration { queue_configurations: Some(queues), ..Default::default() })
    }

    #[test]
    fn what_is_wrong_is_said_before_targets_are_looked_for() {
        let put = "s3:ObjectCreated:Put";
        assert!(of(Vec::new()).unwrap().is_empty());
        let good = of(vec![
            queue("a", QUEUE, &[put], &[("Prefix", "a/"), ("suffix", ".jpg")]),
            queue("b", "arn:minio:sqs::1:webhook", &[put], &[("prefix", "b/")]),
        ]);
        assert_eq!(good.unwrap()[0].suffix.as_deref(), Some(".jpg"));
        let long = "v".repeat(1025);
        for (bad, code, message) in [
            (vec![queue("a", QUEUE, &[], &[])], "MalformedXML", ""),
            (vec![queue("a", QUEUE, &["s3:ObjectMade"], &[])], "MalformedXML", ""),
            (vec![queue("a", QUEUE, &[put], &[("key", "a")])], "InvalidArgument", "filter rule name must"),
            (vec![queue("a", QUEUE, &[put], &[("prefix", &long)])], "InvalidArgument", "Size of filter rule value"),
            (
                vec![queue("a", QUEUE, &[put], &[("prefix", "a"), ("prefix", "b")])],
                "InvalidArgument",
                "Cannot specify more than one prefix rule in a filter.",
            ),
            (vec![queue("a", "q", &[put], &[])], "InvalidArgument", "The ARN could not be parsed"),
            (vec![queue("a", "arn:aws:sqs:us-east-1:1:", &[put], &[])], "InvalidArgument", "The ARN could not"),
            (vec![queue("a", "arn:aws:sns:us-east-1:1:t", &[put], &[])], "InvalidArgument", "The ARN is not one of"),
            (
                vec![queue("a", QUEUE, &[put], &[]), queue("a", QUEUE, &["s3:ObjectRemoved:*"], &[])],
                "InvalidArgument",
                "Rule ID must be unique",
            ),
            (
                vec![queue("a", QUEUE, &[put], &[]), queue("b", QUEUE, &["s3:ObjectCreated:*"], &[])],
                "InvalidArgument",
                "Configurations overlap.",
            ),
        ] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.code().as_str(), code, "{error:?}");
            assert!(error.message().unwrap().starts_with(message), "{error:?}");
        }
        let bridge = NotificationConfiguration {
            event_bridge_configuration: Some(EventBridgeConfiguration {}),
            ..Default::default()
        };
        assert_eq!(from_configuration(bridge).unwrap_err().code().as_str(), "NotImplemented");
    }
}
