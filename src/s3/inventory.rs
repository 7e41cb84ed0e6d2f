//! PutBucketInventoryConfiguration, GetBucketInventoryConfiguration, ListBucketInventoryConfigurations,
//! DeleteBucketInventoryConfiguration: which lists are made of a bucket's objects.
//!
//! Source: these operations, and InventoryConfiguration and what is in it, in the Amazon S3 API reference. What S3 says of
//! configurations that cannot be is in neither; it is as S3 answers.

use std::ops::Bound;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::error::{from_objects, invalid_argument, malformed_xml, no_such_configuration, not_implemented, s3_error};
use super::{Api, identity, rules};
use crate::metadata;
use crate::objects::{self, Inventories, Inventory, InventoryFormat as Format};

/// Configurations that a page of the list has.
const PAGE: usize = 100;
/// Characters of a name at most.
const ID_LEN: usize = 64;

const FIELDS: [&str; 15] = [
    InventoryOptionalField::BUCKET_KEY_STATUS,
    InventoryOptionalField::CHECKSUM_ALGORITHM,
    InventoryOptionalField::E_TAG,
    InventoryOptionalField::ENCRYPTION_STATUS,
    InventoryOptionalField::INTELLIGENT_TIERING_ACCESS_TIER,
    InventoryOptionalField::IS_MULTIPART_UPLOADED,
    InventoryOptionalField::LAST_MODIFIED_DATE,
    InventoryOptionalField::OBJECT_ACCESS_CONTROL_LIST,
    InventoryOptionalField::OBJECT_LOCK_LEGAL_HOLD_STATUS,
    InventoryOptionalField::OBJECT_LOCK_MODE,
    InventoryOptionalField::OBJECT_LOCK_RETAIN_UNTIL_DATE,
    InventoryOptionalField::OBJECT_OWNER,
    InventoryOptionalField::REPLICATION_STATUS,
    InventoryOptionalField::SIZE,
    InventoryOptionalField::STORAGE_CLASS,
];

fn bad(code: &str, message: &str) -> S3Error {
    s3_error(code, StatusCode::BAD_REQUEST, message)
}

fn check_id(id: &str) -> S3Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > ID_LEN || !id.chars().all(fits) {
        return Err(bad("InvalidConfigurationId", "The specified configuration id is invalid."));
    }
    Ok(())
}

fn from_configuration(id: &str, configuration: InventoryConfiguration) -> S3Result<Inventory> {
    check_id(id)?;
    if configuration.id != id {
        return Err(bad("IdMismatch", "Document ID does not match the specified configuration ID."));
    }
    let InventoryS3BucketDestination { account_id, bucket, encryption, format, prefix: to_prefix } =
        configuration.destination.s3_bucket_destination;
    let Some(to) = rules::bucket_of_arn(&bucket) else {
        return Err(bad("InvalidS3DestinationBucket", "Invalid bucket ARN."));
    };
    let format = match format.as_str() {
        InventoryFormat::CSV => Format::Csv,
        InventoryFormat::ORC => Format::Orc,
        InventoryFormat::PARQUET => Format::Parquet,
        _ => return Err(malformed_xml()),
    };
    let encrypted = match encryption {
        None => false,
        Some(InventoryEncryption { ssekms: None, sses3: Some(_) }) => true,
        Some(InventoryEncryption { ssekms: Some(_), sses3: None }) => return Err(not_implemented("SSE-KMS")),
        Some(_) => return Err(malformed_xml()),
    };
    let weekly = match configuration.schedule.frequency.as_str() {
        InventoryFrequency::DAILY => false,
        InventoryFrequency::WEEKLY => true,
        _ => return Err(malformed_xml()),
    };
    let all_versions = match configuration.included_object_versions.as_str() {
        InventoryIncludedObjectVersions::ALL => true,
        InventoryIncludedObjectVersions::CURRENT => false,
        _ => return Err(malformed_xml()),
    };
    let mut fields: Vec<String> = Vec::new();
    for field in configuration.optional_fields.into_iter().flatten() {
        let field = field.as_str();
        if !FIELDS.contains(&field) || fields.iter().any(|other| other == field) {
            return Err(malformed_xml());
        }
        fields.push(field.to_owned());
    }
    Ok(Inventory {
        enabled: configuration.is_enabled,
        to: to.to_owned(),
        account: account_id,
        to_prefix: to_prefix.map(rules::from_prefix).transpose()?,
        format,
        encrypted,
        weekly,
        all_versions,
        prefix: configuration.filter.map(|filter| rules::from_prefix(filter.prefix)).transpose()?,
        fields,
    })
}

fn to_configuration(id: String, inventory: Inventory) -> InventoryConfiguration {
    let format = match inventory.format {
        Format::Csv => InventoryFormat::CSV,
        Format::Orc => InventoryFormat::ORC,
        Format::Parquet => InventoryFormat::PARQUET,
    };
    let frequency = if inventory.weekly { InventoryFrequency::WEEKLY } else { InventoryFrequency::DAILY };
    let versions = if inventory.all_versions {
        InventoryIncludedObjectVersions::ALL
    } else {
        InventoryIncludedObjectVersions::CURRENT
    };
    let fields: InventoryOptionalFields = inventory.fields.into_iter().map(InventoryOptionalField::from).collect();
    InventoryConfiguration {
        destination: InventoryDestination {
            s3_bucket_destination: InventoryS3BucketDestination {
                account_id: inventory.account,
                bucket: rules::arn_of_bucket(&inventory.to),
                encryption: inventory.encrypted.then_some(InventoryEncryption { ssekms: None, sses3: Some(SSES3 {}) }),
                format: InventoryFormat::from_static(format),
                prefix: inventory.to_prefix,
            },
        },
        filter: inventory.prefix.map(|prefix| InventoryFilter { prefix }),
        id,
        included_object_versions: InventoryIncludedObjectVersions::from_static(versions),
        is_enabled: inventory.enabled,
        optional_fields: Some(fields).filter(|fields| !fields.is_empty()),
        schedule: InventorySchedule { frequency: InventoryFrequency::from_static(frequency) },
    }
}

/// A page of the list, and where the next one goes on.
fn page(all: Inventories, token: Option<&str>) -> S3Result<(InventoryConfigurationList, Option<String>)> {
    let after = match token {
        None => Bound::Unbounded,
        Some(token) => {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Bound::Excluded(decoded.ok_or_else(|| {
                invalid_argument("continuation-token", token, "The continuation token provided is incorrect")
            })?)
        }
    };
    let mut rest = all.range((after, Bound::Unbounded));
    let page: Vec<_> = rest.by_ref().take(PAGE).collect();
    let next = match (page.last(), rest.next()) {
        (Some((last, _)), Some(_)) => Some(BASE64_URL_SAFE_NO_PAD.encode(last)),
        _ => None,
    };
    Ok((page.into_iter().map(|(id, one)| to_configuration(id.clone(), one.clone())).collect(), next))
}

pub(super) async fn get_bucket_inventory_configuration(
    api: &Api,
    request: S3Request<GetBucketInventoryConfigurationInput>,
) -> S3Result<S3Response<GetBucketInventoryConfigurationOutput>> {
    let GetBucketInventoryConfigurationInput { bucket, id, .. } = request.input;
    let found = api.store.bucket_inventories(&bucket).await.map_err(from_objects)?.remove(&id);
    let inventory = found.ok_or_else(no_such_configuration)?;
    Ok(S3Response::new(GetBucketInventoryConfigurationOutput {
        inventory_configuration: Some(to_configuration(id, inventory)),
    }))
}

pub(super) async fn list_bucket_inventory_configurations(
    api: &Api,
    request: S3Request<ListBucketInventoryConfigurationsInput>,
) -> S3Result<S3Response<ListBucketInventoryConfigurationsOutput>> {
    let ListBucketInventoryConfigurationsInput { bucket, continuation_token, .. } = request.input;
    let all = api.store.bucket_inventories(&bucket).await.map_err(from_objects)?;
    let (list, next) = page(all, continuation_token.as_deref())?;
    Ok(S3Response::new(ListBucketInventoryConfigurationsOutput {
        continuation_token,
        inventory_configuration_list: Some(list),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
    }))
}

pub(super) async fn put_bucket_inventory_configuration(
    api: &Api,
    request: S3Request<PutBucketInventoryConfigurationInput>,
) -> S3Result<S3Response<PutBucketInventoryConfigurationOutput>> {
    let owner = identity(&request)?.id;
    let PutBucketInventoryConfigurationInput { bucket, id, inventory_configuration, .. } = request.input;
    let inventory = from_configuration(&id, inventory_configuration)?;
    api.store.bucket(&bucket).await.map_err(from_objects)?;
    match api.store.bucket(&inventory.to).await {
        Ok(target) if target.owner == owner && inventory.account.as_ref().is_none_or(|account| *account == owner) => {}
        Ok(_) => {
            let message = "The destination bucket is not owned by the account that was specified.";
            return Err(bad("InvalidS3DestinationBucket", message));
        }
        Err(objects::Error::Metadata(metadata::Error::NoSuchBucket(_))) => {
            return Err(bad("InvalidS3DestinationBucket", "The destination bucket does not exist."));
        }
        Err(error) => return Err(from_objects(error)),
    }
    api.store.put_bucket_inventory(bucket, id, inventory).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketInventoryConfigurationOutput::default()))
}

pub(super) async fn delete_bucket_inventory_configuration(
    api: &Api,
    request: S3Request<DeleteBucketInventoryConfigurationInput>,
) -> S3Result<S3Response<DeleteBucketInventoryConfigurationOutput>> {
    let DeleteBucketInventoryConfigurationInput { bucket, id, .. } = request.input;
    api.store.delete_bucket_inventory(bucket, id).await.map_err(from_objects)?;
    Ok(S3Response::with_status(DeleteBucketInventoryConfigurationOutput::default(), StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn inventory() -> Inventory {
        Inventory {
            enabled: true,
            to: "lists".into(),
            account: Some("owner".into()),
            to_prefix: Some("of/".into()),
            format: Format::Parquet,
            encrypted: true,
            weekly: true,
            all_versions: true,
            prefix: Some("p".into()),
            fields: vec!["Size".into(), "ETag".into()],
        }
    }

    fn given() -> InventoryConfiguration {
        to_configuration("one".into(), inventory())
    }

    #[test]
    fn configurations_come_back_as_they_were_given() {
        let bare = Inventory {
            enabled: false,
            account: None,
            to_prefix: None,
            format: Format::Csv,
            encrypted: false,
            weekly: false,
            all_versions: false,
            prefix: None,
            fields: Vec::new(),
            ..inventory()
        };
        for inventory in [inventory(), bare] {
            let read = from_configuration("one", to_configuration("one".into(), inventory.clone())).unwrap();
            assert_eq!(read, inventory);
            assert_eq!(serde_json::from_str::<Inventory>(&serde_json::to_string(&read).unwrap()).unwrap(), inventory);
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_s3_says_it() {
        let to = |change: fn(&mut InventoryS3BucketDestination)| {
            let mut configuration = given();
            change(&mut configuration.destination.s3_bucket_destination);
            configuration
        };
        let field = |name: &str| InventoryOptionalField::from(name.to_owned());
        for (bad, code) in [
            (to(|to| to.bucket = "lists".into()), "InvalidS3DestinationBucket"),
            (to(|to| to.format = "JSON".to_owned().into()), "MalformedXML"),
            (to(|to| to.encryption = Some(InventoryEncryption { ssekms: None, sses3: None })), "MalformedXML"),
            (
                to(|to| {
                    let ssekms = Some(SSEKMS { key_id: "k".into() });
                    to.encryption = Some(InventoryEncryption { ssekms, sses3: None });
                }),
                "NotImplemented",
            ),
            (
                InventoryConfiguration {
                    schedule: InventorySchedule { frequency: "Hourly".to_owned().into() },
                    ..given()
                },
                "MalformedXML",
            ),
            (InventoryConfiguration { included_object_versions: "all".to_owned().into(), ..given() }, "MalformedXML"),
            (InventoryConfiguration { optional_fields: Some(vec![field("Key")]), ..given() }, "MalformedXML"),
            (
                InventoryConfiguration { optional_fields: Some(vec![field("Size"), field("Size")]), ..given() },
                "MalformedXML",
            ),
            (InventoryConfiguration { id: "two".into(), ..given() }, "IdMismatch"),
        ] {
            assert_eq!(from_configuration("one", bad).unwrap_err().code().as_str(), code);
        }
        for id in ["", "a b", "ä", &"i".repeat(65)] {
            let configuration = InventoryConfiguration { id: id.into(), ..given() };
            assert_eq!(from_configuration(id, configuration).unwrap_err().code().as_str(), "InvalidConfigurationId");
        }
    }

    #[test]
    fn a_page_has_a_hundred() {
        let all: Inventories = (0..250).map(|i| (format!("i{i:03}"), inventory())).collect();
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let (list, next) = page(all.clone(), token.as_deref()).unwrap();
            seen.push(list.len());
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, [100, 100, 50]);
        assert!(page(all, Some("&")).is_err());
    }
}
