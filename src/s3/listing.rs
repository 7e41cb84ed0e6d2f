//! ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use url::form_urlencoded;

use super::authorize::{Authority, authority};
use super::error::{from_objects, invalid_argument};
use super::values::{Encoding, etag, page_limit, signed, signed32, timestamp};
use super::{Api, display_name};
use crate::access::acl::Ownership;
use crate::access::{Directory, Resources as _};
use crate::layout::{DATA_SHARDS, PARITY_SHARDS};
use crate::metadata::{Headers, ListQuery, ListedObject, ListedVersion, Tags, UploadId, VersionId};
use crate::server::{Descriptions, VersionOrder, element};

/// The owners on a page, each of whom is looked up once.
struct Owners<'a> {
    directory: &'a Directory,
    /// Who owns all of it, whoever wrote it.
    all: Option<String>,
    names: HashMap<String, Option<String>>,
}

impl<'a> Owners<'a> {
    async fn in_bucket(api: &'a Api, bucket: &str) -> S3Result<Self> {
        let rules = api.store.bucket_rules(bucket).await.map_err(from_objects)?;
        let all = (rules.ownership == Ownership::BucketOwnerEnforced).then(|| rules.owner.clone());
        Ok(Self { directory: &api.directory, all, names: HashMap::new() })
    }

    fn of(&mut self, id: String) -> Owner {
        let id = self.all.clone().unwrap_or(id);
        self.named(id)
    }

    fn named(&mut self, id: String) -> Owner {
        let directory = self.directory;
        let name = self.names.entry(id.clone()).or_insert_with(|| display_name(directory, &id));
        Owner { display_name: name.clone(), id: Some(id) }
    }
}

fn entry(object: ListedObject, encoding: Encoding, owner: Option<Owner>) -> Object {
    let (algorithm, kind) = object.checksum.unzip();
    Object {
        checksum_algorithm: algorithm.map(|a| vec![ChecksumAlgorithm::from(a.name().to_owned())]),
        checksum_type: kind.map(|k| k.name().to_owned().into()),
        e_tag: Some(etag(&object.etag)),
        key: Some(encoding.apply(&object.key)),
        last_modified: Some(timestamp(object.modified)),
        owner,
        size: Some(signed(object.size)),
        storage_class: Some(ObjectStorageClass::from_static(object.storage_class.name())),
        ..Default::default()
    }
}

fn prefixes(prefixes: &[String], encoding: Encoding) -> Option<Vec<CommonPrefix>> {
    let shown = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.apply(prefix)) });
    (!prefixes.is_empty()).then(|| shown.collect())
}

fn query(bucket: &str, prefix: Option<&String>, delimiter: Option<&String>, limit: u32) -> ListQuery {
    ListQuery {
        bucket: bucket.to_owned(),
        prefix: prefix.cloned().unwrap_or_default(),
        delimiter: delimiter.cloned().unwrap_or_default(),
        after: String::new(),
        limit,
        described: false,
    }
}

/// MinIO's `metadata=true`, which asks for what an object's HEAD and tags would tell.
fn wants_descriptions(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "metadata" && value == "true")
}

/// The description of an object, for who might as well read it; as with MinIO, others get the listing without.
fn described_for(authority: &Authority, object: &ListedObject) -> String {
    match object.description.as_deref() {
        Some(description) if authority.may_describe(&object.key) => describe(description),
        _ => String::new(),
    }
}

/// The description of an object as MinIO writes it. A name that no element can have is left out.
fn describe((headers, tags): &(Headers, Tags)) -> String {
    let mut xml = String::new();
    xml.push_str("<UserMetadata>");
    let own = [
        ("cache-control", &headers.cache_control),
        ("content-disposition", &headers.content_disposition),
        ("content-encoding", &headers.content_encoding),
        ("content-language", &headers.content_language),
        ("content-type", &headers.content_type),
        ("expires", &headers.expires),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            element(&mut xml, name, value);
        }
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for (name, value) in headers.user.iter().filter(|(name, _)| name.chars().all(is_letter)) {
        element(&mut xml, &format!("X-Amz-Meta-{}", canonical(name)), value);
    }
    xml.push_str("</UserMetadata>");
    if !tags.is_empty() {
        let tags = form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish();
        element(&mut xml, "UserTags", &tags);
    }
    // Data and parity shards.
    _ = write!(xml, "<Internal><K>{DATA_SHARDS}</K><M>{PARITY_SHARDS}</M></Internal>");
    xml
}

/// A header's name as Go writes it, and its clients look for it.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let letters = name.chars().map(|c| {
        let letter = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        letter
    });
    letters.collect()
}

/// An empty delimiter is none.
fn delimiter(asked: Option<&String>) -> Option<String> {
    asked.filter(|delimiter| !delimiter.is_empty()).cloned()
}

pub(super) async fn list_objects(
    api: &Api,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let encoding = Encoding::parse(input.encoding_type.as_ref().map(EncodingType::as_str))?;
    let limit = page_limit("max-keys", input.max_keys)?;
    let delimiter = delimiter(input.delimiter.as_ref());
    let marker = input.marker.clone().unwrap_or_default();
    let list = query(&input.bucket, input.prefix.as_ref(), delimiter.as_ref(), limit).after_marker(&marker);
    let mut owners = Owners::in_bucket(api, &input.bucket).await?;
    let page = api.store.list(&list).await.map_err(from_objects)?;
    // Without a delimiter the last key is the next marker, and S3 leaves it to the client to know that.
    let next_marker = page.next.as_ref().filter(|_| page.truncated && delimiter.is_some());
    let output = ListObjectsOutput {
        name: Some(input.bucket),
        // The one field here that S3 does not encode, and clients do not decode.
        prefix: Some(list.prefix),
        marker: Some(encoding.apply(&marker)),
        max_keys: Some(signed32(limit)),
        is_truncated: Some(page.truncated),
        next_marker: next_marker.map(|marker| encoding.apply(marker)),
        common_prefixes: prefixes(&page.common_prefixes, encoding),
        delimiter: delimiter.map(|delimiter| encoding.apply(&delimiter)),
        encoding_type: input.encoding_type,
        contents: Some(
            page.entries
                .into_iter()
                .map(|object| {
                    let owner = owners.of(object.owner.clone());
                    entry(object, encoding, Some(owner))
                })
                .collect(),
        ),
        ..Default::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn list_objects_v2(
    api: &Api,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let authority = authority(&request.extensions)?.clone();
    let described = wants_descriptions(&request.uri);
    let input = request.input;
    let encoding = Encoding::parse(input.encoding_type.as_ref().map(EncodingType::as_str))?;
    let limit = page_limit("max-keys", input.max_keys)?;
    let delimiter = delimiter(input.delimiter.as_ref());
    let list = query(&input.bucket, input.prefix.as_ref(), delimiter.as_ref(), limit);
    let list = ListQuery { described, ..list };
    // The token says where the page before ended, whatever start-after says.
    let list = match input.continuation_token.as_ref().filter(|token| !token.is_empty()) {
        Some(token) => {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let after = decoded.filter(|after| !after.is_empty()).ok_or_else(|| {
                invalid_argument("continuation-token", token, "The continuation token provided is incorrect")
            })?;
            ListQuery { after, ..list }
        }
        None => list.after_key(input.start_after.as_deref().unwrap_or_default()),
    };
    let mut owners = match input.fetch_owner {
        Some(true) => Some(Owners::in_bucket(api, &input.bucket).await?),
        _ => None,
    };
    let page = api.store.list(&list).await.map_err(from_objects)?;
    let token = page.next.as_ref().filter(|_| page.truncated).map(|next| BASE64_URL_SAFE_NO_PAD.encode(next));
    let descriptions = page.entries.iter().map(|object| described_for(&authority, object)).collect();
    let output = ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.apply(&list.prefix)),
        max_keys: Some(signed32(limit)),
        key_count: Some(signed32(page.entries.len() + page.common_prefixes.len())),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.truncated),
        next_continuation_token: token,
        common_prefixes: prefixes(&page.common_prefixes, encoding),
        delimiter: delimiter.map(|delimiter| encoding.apply(&delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|after| encoding.apply(&after)),
        contents: Some(
            page.entries
                .into_iter()
                .map(|object| {
                    let owner = owners.as_mut().map(|owners| owners.of(object.owner.clone()));
                    entry(object, encoding, owner)
                })
                .collect(),
        ),
        ..Default::default()
    };
    let mut response = S3Response::new(output);
    if described {
        Descriptions::default().and("Contents", descriptions).put(&mut response.extensions);
    }
    Ok(response)
}

pub(super) async fn list_object_versions(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let authority = authority(&request.extensions)?.clone();
    let described = wants_descriptions(&request.uri);
    let input = request.input;
    let encoding = Encoding::parse(input.encoding_type.as_ref().map(EncodingType::as_str))?;
    let limit = page_limit("max-keys", input.max_keys)?;
    let delimiter = delimiter(input.delimiter.as_ref());
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let version_marker = input.version_id_marker.as_ref().filter(|id| !id.is_empty());
    if let (Some(marker), true) = (version_marker, key_marker.is_empty()) {
        return Err(invalid_argument(
            "version-id-marker",
            marker,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let after_version = version_marker
        .map(|marker| {
            VersionId::parse(marker)
                .ok_or_else(|| invalid_argument("version-id-marker", marker, "Invalid version id specified"))
        })
        .transpose()?;
    let list = query(&input.bucket, input.prefix.as_ref(), delimiter.as_ref(), limit);
    let list = ListQuery { described, ..list };
    let list = match after_version {
        Some(_) => ListQuery { after: key_marker.clone(), ..list },
        None => list.after_marker(&key_marker),
    };
    let mut owners = Owners::in_bucket(api, &input.bucket).await?;
    let page = api.store.list_versions(&list, after_version.as_ref()).await.map_err(from_objects)?;
    let order = VersionOrder(page.entries.iter().map(|listed| listed.marker).collect());
    let objects = page.entries.iter().filter(|listed| !listed.marker);
    let descriptions = objects.map(|listed| described_for(&authority, &listed.object)).collect();
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for ListedVersion { version, latest, marker, object } in page.entries {
        let owner = Some(owners.of(object.owner.clone()));
        if marker {
            markers.push(DeleteMarkerEntry {
                is_latest: Some(latest),
                key: Some(encoding.apply(&object.key)),
                last_modified: Some(timestamp(object.modified)),
                owner,
                version_id: Some(version.as_str().to_owned()),
            });
        } else {
            let class = object.storage_class.name();
            let Object { checksum_algorithm, checksum_type, e_tag, key, last_modified, owner, size, .. } =
                entry(object, encoding, owner);
            versions.push(ObjectVersion {
                checksum_algorithm,
                checksum_type,
                e_tag,
                is_latest: Some(latest),
                key,
                last_modified,
                owner,
                size,
                storage_class: Some(ObjectVersionStorageClass::from_static(class)),
                version_id: Some(version.as_str().to_owned()),
                ..Default::default()
            });
        }
    }
    let output = ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.apply(&list.prefix)),
        key_marker: Some(encoding.apply(&key_marker)),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: Some(signed32(limit)),
        is_truncated: Some(page.truncated),
        next_key_marker: page.next.as_ref().filter(|_| page.truncated).map(|next| encoding.apply(next)),
        next_version_id_marker: page.next_of_key.filter(|_| page.truncated),
        common_prefixes: prefixes(&page.common_prefixes, encoding),
        delimiter: delimiter.map(|delimiter| encoding.apply(&delimiter)),
        encoding_type: input.encoding_type,
        versions: Some(versions),
        delete_markers: Some(markers),
        ..Default::default()
    };
    let mut response = S3Response::new(output);
    response.extensions.insert(order);
    if described {
        Descriptions::default().and("Version", descriptions).put(&mut response.extensions);
    }
    Ok(response)
}

pub(super) async fn list_multipart_uploads(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let encoding = Encoding::parse(input.encoding_type.as_ref().map(EncodingType::as_str))?;
    let limit = page_limit("max-uploads", input.max_uploads)?;
    let delimiter = delimiter(input.delimiter.as_ref());
    let key_marker = input.key_marker.clone().unwrap_or_default();
    // Without a key marker an upload marker means nothing.
    let upload_marker = input.upload_id_marker.as_ref().filter(|id| !id.is_empty() && !key_marker.is_empty());
    let after_upload = upload_marker.cloned().map(UploadId);
    let list = query(&input.bucket, input.prefix.as_ref(), delimiter.as_ref(), limit);
    let list = match after_upload {
        Some(_) => ListQuery { after: key_marker.clone(), ..list },
        None => list.after_marker(&key_marker),
    };
    let mut owners = Owners::in_bucket(api, &input.bucket).await?;
    let page = api.store.list_uploads(&list, after_upload.as_ref()).await.map_err(from_objects)?;
    let uploads = page.entries.into_iter().map(|upload| {
        let Owner { display_name, id } = owners.named(upload.template.initiator);
        let initiator = Initiator { display_name, id };
        let owner = owners.of(upload.template.owner);
        MultipartUpload {
            checksum_algorithm: upload.template.checksum.map(|(a, _)| a.name().to_owned().into()),
            checksum_type: upload.template.checksum.map(|(_, k)| k.name().to_owned().into()),
            initiated: Some(timestamp(upload.started)),
            initiator: Some(initiator),
            key: Some(encoding.apply(&upload.template.key)),
            owner: Some(owner),
            storage_class: Some(StorageClass::from_static(upload.template.storage_class.name())),
            upload_id: Some(upload.id.0),
        }
    });
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: prefixes(&page.common_prefixes, encoding),
        delimiter: delimiter.map(|delimiter| encoding.apply(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        key_marker: Some(encoding.apply(&key_marker)),
        max_uploads: Some(signed32(limit)),
        next_key_marker: page.next.as_ref().filter(|_| page.truncated).map(|next| encoding.apply(next)),
        next_upload_id_marker: page.next_of_key.filter(|_| page.truncated),
        prefix: Some(encoding.apply(&list.prefix)),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(uploads.collect()),
        ..Default::default()
    };
    Ok(S3Response::new(output))
}
