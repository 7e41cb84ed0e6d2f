//! Events as JSON.
//!
//! Source: "Event message structure" in the Amazon S3 user guide, version 2.1. As MinIO's listeners have them, names begin with `s3:` and
//! keys are not escaped.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Event;
use crate::clock::Millis;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    records: [Record<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    event_version: &'static str,
    event_source: &'static str,
    aws_region: &'a str,
    event_time: String,
    event_name: &'static str,
    user_identity: Identity<'a>,
    request_parameters: Parameters<'a>,
    response_elements: Elements<'a>,
    s3: Subject<'a>,
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    principal_id: &'a str,
}

#[derive(Serialize)]
struct Parameters<'a> {
    #[serde(rename = "sourceIPAddress")]
    address: &'a str,
}

#[derive(Serialize)]
struct Elements<'a> {
    #[serde(rename = "x-amz-request-id")]
    request_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject<'a> {
    #[serde(rename = "s3SchemaVersion")]
    schema_version: &'static str,
    configuration_id: &'static str,
    bucket: Bucket<'a>,
    object: Object<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket<'a> {
    name: &'a str,
    owner_identity: Identity<'a>,
    arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    sequencer: String,
}

/// Of whom it is, as MinIO has it beside what S3 says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    host: &'a str,
    port: &'static str,
    user_agent: &'a str,
}

/// A message of one event, and the end of its line. All buckets belong to whoever may use them, so that who asked is named as the owner.
pub fn message(event: &Event, region: &str) -> String {
    let principal = || Identity { principal_id: &event.origin.principal };
    let record = Record {
        event_version: "2.1",
        event_source: "aws:s3",
        aws_region: region,
        event_time: time_of(event.at),
        event_name: event.name.name(),
        user_identity: principal(),
        request_parameters: Parameters { address: &event.origin.address },
        response_elements: Elements { request_id: &event.origin.request_id },
        s3: Subject {
            schema_version: "1.0",
            configuration_id: "",
            bucket: Bucket {
                name: &event.bucket,
                owner_identity: principal(),
                arn: format!("arn:aws:s3:::{}", event.bucket),
            },
            object: Object {
                key: &event.key,
                size: event.size,
                e_tag: event.etag.as_deref(),
                version_id: event.version.as_deref(),
                sequencer: format!("{:016X}", event.sequence),
            },
        },
        source: Source { host: &event.origin.address, port: "", user_agent: &event.origin.agent },
    };
    // Strings and numbers: there is nothing that cannot be written.
    let mut message = serde_json::to_string(&Message { records: [record] }).unwrap_or_default();
    message.push('\n');
    message
}

fn time_of(at: Millis) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(TIME).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::events::{EventName, Origin};

    #[test]
    fn a_message_has_what_s3_says_of_an_event() {
        let origin = Origin {
            principal: "id".into(),
            address: "192.0.2.1".into(),
            request_id: "R".into(),
            agent: "a".into(),
            form: false,
        };
        let event = Event {
            name: EventName::CreatedPut,
            at: 1_700_000_000_123,
            bucket: "b".into(),
            key: "a \"ü\"".into(),
            size: Some(3),
            etag: Some("e".into()),
            version: None,
            sequence: 0xab,
            origin: Arc::new(origin),
        };
        let text = message(&event, "eu");
        assert!(text.ends_with("}]}\n"));
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu", "eventTime": "2023-11-14T22:13:20.123Z",
            "eventName": "s3:ObjectCreated:Put", "userIdentity": {"principalId": "id"},
            "requestParameters": {"sourceIPAddress": "192.0.2.1"}, "responseElements": {"x-amz-request-id": "R"},
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "",
                "bucket": {"name": "b", "ownerIdentity": {"principalId": "id"}, "arn": "arn:aws:s3:::b"},
                "object": {"key": "a \"ü\"", "size": 3, "eTag": "e", "sequencer": "00000000000000AB"}},
            "source": {"host": "192.0.2.1", "port": "", "userAgent": "a"}}]});
        assert_eq!(found, expected);
    }
}
