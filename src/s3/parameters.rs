//! Which parameters operations take. `s3s` routes what it does not know to the bare verb, so that everything not listed here is refused.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::access::claims::{Claims, Mechanism};
use crate::access::query::Query;
use crate::access::version2;
use crate::server::Refusal;

/// What those say who listen to events, in one bucket or in all.
const LISTENING: &[&str] = &["events", "ping", "prefix", "suffix"];

/// Operations with the query parameters that each takes. An operation that is not here does not exist.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("ListBuckets", &["bucket-region", "continuation-token", "max-buckets", "prefix"]),
    ("ListenNotification", LISTENING),
    // Buckets
    ("CreateBucket", &[]),
    ("HeadBucket", &[]),
    ("DeleteBucket", &[]),
    ("GetBucketLocation", &["location"]),
    ("GetBucketVersioning", &["versioning"]),
    ("PutBucketVersioning", &["versioning"]),
    ("GetObjectLockConfiguration", &["object-lock"]),
    ("PutObjectLockConfiguration", &["object-lock"]),
    ("GetBucketTagging", &["tagging"]),
    ("PutBucketTagging", &["tagging"]),
    ("DeleteBucketTagging", &["tagging"]),
    ("GetBucketCors", &["cors"]),
    ("PutBucketCors", &["cors"]),
    ("DeleteBucketCors", &["cors"]),
    ("GetBucketWebsite", &["website"]),
    ("PutBucketWebsite", &["website"]),
    ("DeleteBucketWebsite", &["website"]),
    ("GetBucketEncryption", &["encryption"]),
    ("PutBucketEncryption", &["encryption"]),
    ("DeleteBucketEncryption", &["encryption"]),
    ("GetBucketLifecycleConfiguration", &["lifecycle"]),
    ("PutBucketLifecycleConfiguration", &["lifecycle"]),
    ("DeleteBucketLifecycle", &["lifecycle"]),
    ("GetBucketNotificationConfiguration", &["notification"]),
    ("PutBucketNotificationConfiguration", &["notification"]),
    ("GetBucketLogging", &["logging"]),
    ("PutBucketLogging", &["logging"]),
    ("GetBucketReplication", &["replication"]),
    ("PutBucketReplication", &["replication"]),
    ("DeleteBucketReplication", &["replication"]),
    ("GetBucketAcl", &["acl"]),
    ("PutBucketAcl", &["acl"]),
    ("GetBucketOwnershipControls", &["ownershipControls"]),
    ("PutBucketOwnershipControls", &["ownershipControls"]),
    ("DeleteBucketOwnershipControls", &["ownershipControls"]),
    ("GetPublicAccessBlock", &["publicAccessBlock"]),
    ("PutPublicAccessBlock", &["publicAccessBlock"]),
    ("DeletePublicAccessBlock", &["publicAccessBlock"]),
    ("GetBucketPolicy", &["policy"]),
    ("PutBucketPolicy", &["policy"]),
    ("DeleteBucketPolicy", &["policy"]),
    ("GetBucketPolicyStatus", &["policyStatus"]),
    ("GetBucketRequestPayment", &["requestPayment"]),
    ("PutBucketRequestPayment", &["requestPayment"]),
    ("GetBucketInventoryConfiguration", &["inventory", "id"]),
    ("ListBucketInventoryConfigurations", &["inventory", "continuation-token"]),
    ("PutBucketInventoryConfiguration", &["inventory", "id"]),
    ("DeleteBucketInventoryConfiguration", &["inventory", "id"]),
    ("ListObjects", &["delimiter", "encoding-type", "marker", "max-keys", "prefix"]),
    (
        "ListObjectsV2",
        &[
            "list-type",
            "continuation-token",
            "delimiter",
            "encoding-type",
            "fetch-owner",
            "max-keys",
            "metadata",
            "prefix",
            "start-after",
        ],
    ),
    (
        "ListObjectVersions",
        &[
            "versions",
            "delimiter",
            "encoding-type",
            "key-marker",
            "max-keys",
            "metadata",
            "prefix",
            "version-id-marker",
        ],
    ),
    ("ListenBucketNotification", LISTENING),
    // Objects
    ("PutObject", &[]),
    ("RenameObject", &["renameObject"]),
    ("CopyObject", &[]),
    (
        "GetObject",
        &[
            "partNumber",
            "versionId",
            "response-cache-control",
            "response-content-disposition",
            "response-content-encoding",
            "response-content-language",
            "response-content-type",
            "response-expires",
        ],
    ),
    (
        "HeadObject",
        &[
            "partNumber",
            "versionId",
            "response-cache-control",
            "response-content-disposition",
            "response-content-encoding",
            "response-content-language",
            "response-content-type",
            "response-expires",
        ],
    ),
    ("GetObjectAttributes", &["attributes", "versionId"]),
    ("SelectObjectContent", &["select", "select-type"]),
    ("DeleteObject", &["versionId"]),
    ("DeleteObjects", &["delete"]),
    ("GetObjectRetention", &["retention", "versionId"]),
    ("PutObjectRetention", &["retention", "versionId"]),
    ("GetObjectLegalHold", &["legal-hold", "versionId"]),
    ("PutObjectLegalHold", &["legal-hold", "versionId"]),
    ("GetObjectTagging", &["tagging", "versionId"]),
    ("PutObjectTagging", &["tagging", "versionId"]),
    ("DeleteObjectTagging", &["tagging", "versionId"]),
    ("GetObjectAcl", &["acl", "versionId"]),
    ("PutObjectAcl", &["acl", "versionId"]),
    // Multipart uploads
    ("CreateMultipartUpload", &["uploads"]),
    ("UploadPart", &["partNumber", "uploadId"]),
    ("UploadPartCopy", &["partNumber", "uploadId"]),
    ("CompleteMultipartUpload", &["uploadId"]),
    ("AbortMultipartUpload", &["uploadId"]),
    ("ListParts", &["max-parts", "part-number-marker", "uploadId"]),
    (
        "ListMultipartUploads",
        &["uploads", "delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"],
    ),
];

/// Parameters that may come with any operation: the SDKs' name of it, and the presigned URL's own.
const ALWAYS: &[&str] = &[
    "x-id",
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// S3's sub-resources, with the methods that a bucket and an object know for each: the others are 405, and these, as long
/// as no operation above takes them, 501.
const SUB_RESOURCES: &[(&str, &str, &str)] = &[
    // name, of a bucket, of an object
    ("abac", "GET PUT", ""),
    ("accelerate", "GET PUT", ""),
    ("acl", "GET PUT", "GET PUT"),
    ("analytics", "GET PUT DELETE", ""),
    ("annotation", "", "GET PUT DELETE"),
    ("attributes", "", "GET"),
    ("cors", "GET PUT DELETE", ""),
    ("delete", "POST", ""),
    ("encryption", "GET PUT DELETE", "PUT"),
    ("intelligent-tiering", "GET PUT DELETE", ""),
    ("inventory", "GET PUT DELETE", ""),
    ("legal-hold", "", "GET PUT"),
    ("lifecycle", "GET PUT DELETE", ""),
    ("location", "GET", ""),
    ("logging", "GET PUT", ""),
    ("metadataConfiguration", "GET POST DELETE", ""),
    ("metadataInventoryTable", "PUT", ""),
    ("metadataJournalTable", "PUT", ""),
    ("metadataTable", "GET POST DELETE", ""),
    ("metrics", "GET PUT DELETE", ""),
    ("notification", "GET PUT", ""),
    ("object-lock", "GET PUT", ""),
    ("ownershipControls", "GET PUT DELETE", ""),
    ("policy", "GET PUT DELETE", ""),
    ("policyStatus", "GET", ""),
    ("publicAccessBlock", "GET PUT DELETE", ""),
    ("renameObject", "", "PUT"),
    ("replication", "GET PUT DELETE", ""),
    ("requestPayment", "GET PUT", ""),
    ("restore", "", "POST"),
    ("retention", "", "GET PUT"),
    ("select", "", "POST"),
    ("session", "GET", ""),
    ("tagging", "GET PUT DELETE", "GET PUT DELETE"),
    ("torrent", "", "GET"),
    ("uploads", "GET", "POST"),
    ("versioning", "GET PUT", ""),
    ("versions", "GET", ""),
    ("website", "GET PUT DELETE", ""),
];

/// Parameters of reads that mean something to clients of other stores, and are not built: MinIO's transformations.
const OF_OTHERS: &[&str] = &["lambdaArn"];

/// Every parameter must be one that the operation takes.
pub(super) fn check(
    operation: &str,
    method: &Method,
    of_object: bool,
    claims: Option<&Claims>,
    query: &Query,
) -> Result<(), Refusal> {
    let version2 = claims.is_some_and(|claims| claims.version2);
    let known = OPERATIONS.iter().find(|(name, _)| *name == operation).map(|(_, taken)| *taken);
    let taken = |name: &str| {
        let always = if version2 { &version2::OF_THE_SIGNATURE[..] } else { ALWAYS };
        known.is_some_and(|taken| taken.contains(&name)) || always.contains(&name)
    };
    // A presigned URL may hold what else would be a header; it is signed with it.
    let header = |name: &str| {
        claims.is_some_and(|claims| claims.mechanism == Mechanism::Query)
            && !version2
            && name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
    };
    let refused = |(name, value): &(&str, &str)| !taken(name) && !header(name) && !is_ignored(name, value, method);
    match query.iter().find(refused) {
        Some((name, _)) => Err(not_taken(name, method, of_object)),
        None if known.is_none() => Err(not_implemented(operation)),
        None => Ok(()),
    }
}

/// Whether S3 would not even look at a parameter: on reads those with a value that no operation has, as browsers bring them along when a
/// form has sent them back to a bucket. A name alone may be a sub-resource that is newer than this.
fn is_ignored(name: &str, value: &str, method: &Method) -> bool {
    let means_something = OPERATIONS.iter().any(|(_, taken)| taken.contains(&name))
        || SUB_RESOURCES.iter().any(|(known, ..)| *known == name)
        || OF_OTHERS.contains(&name)
        || name.to_ascii_lowercase().starts_with("x-amz-");
    matches!(*method, Method::GET | Method::HEAD) && !value.is_empty() && !means_something
}

fn not_taken(name: &str, method: &Method, of_object: bool) -> Refusal {
    let methods = SUB_RESOURCES
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, bucket, object)| if of_object { *object } else { *bucket });
    match methods {
        Some(methods) if !methods.split(' ').any(|known| known == method.as_str()) => {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")
                .with("Method", method.as_str())
                .with("ResourceType", name.to_ascii_uppercase())
        }
        _ => not_implemented(name),
    }
}

fn not_implemented(what: &str) -> Refusal {
    let message: Cow<'static, str> = format!("{what} is not implemented").into();
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented").saying(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parameters(operation: &str, method: &Method, of_object: bool, query: &str) -> &'static str {
        let query = Query::parse(Some(query)).unwrap();
        match check(operation, method, of_object, None, &query) {
            Ok(()) => "ok",
            Err(refusal) if refusal.code == "NotImplemented" => "501",
            Err(refusal) if refusal.code == "MethodNotAllowed" => "405",
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    #[test]
    fn every_operation_takes_only_its_own_parameters() {
        for (operation, method, of_object, query, answer) in [
            ("GetObject", Method::GET, true, "partNumber=1&response-expires=x&x-id=GetObject", "ok"),
            ("GetObject", Method::GET, true, "foo", "501"),
            ("GetObject", Method::GET, true, "x-amz-copy-source=/a/b", "501"),
            ("HeadObject", Method::HEAD, true, "tagging", "405"),
            ("PutObject", Method::PUT, true, "", "ok"),
            ("PutObject", Method::PUT, true, "renameObject", "501"),
            ("PutObject", Method::PUT, true, "encryption", "501"),
            ("PutObject", Method::PUT, true, "uploadId=x", "501"),
            ("PutObject", Method::PUT, true, "partNumber=1", "501"),
            ("PutObject", Method::PUT, true, "foo", "501"),
            ("PutObject", Method::PUT, true, "versionId=x", "501"),
            ("DeleteObject", Method::DELETE, true, "acl", "405"),
            ("DeleteObject", Method::DELETE, true, "versionId=null", "ok"),
            ("DeleteBucket", Method::DELETE, false, "versioning", "405"),
            ("DeleteBucket", Method::DELETE, false, "notification", "405"),
            ("DeleteBucket", Method::DELETE, false, "foo", "501"),
            ("DeleteBucketPolicy", Method::DELETE, false, "policy", "ok"),
            ("ListObjects", Method::GET, false, "foo", "501"),
            ("ListObjects", Method::GET, false, "bucket=b&key=k&etag=%22e%22", "ok"),
            ("ListObjects", Method::GET, false, "partNumber=1", "501"),
            ("GetObject", Method::GET, true, "lambdaArn=x", "501"),
            ("PutObject", Method::PUT, true, "foo=1", "501"),
            ("ListObjects", Method::GET, false, "list-type=3", "501"),
            ("ListObjectsV2", Method::GET, false, "list-type=2&prefix=a&delimiter=/", "ok"),
            ("GetBucketLocation", Method::GET, false, "location", "ok"),
            ("GetBucketAccelerateConfiguration", Method::GET, false, "accelerate", "501"),
            ("WriteGetObjectResponse", Method::POST, false, "", "501"),
        ] {
            assert_eq!(parameters(operation, &method, of_object, query), answer, "{operation} ?{query}");
        }
    }

    #[test]
    fn the_tables_are_sound() {
        for (name, bucket, object) in SUB_RESOURCES {
            let methods = bucket.split(' ').chain(object.split(' ')).filter(|method| !method.is_empty());
            assert!(methods.clone().count() > 0, "{name}");
            assert!(methods.clone().all(|m| ["GET", "PUT", "POST", "DELETE"].contains(&m)), "{name}");
        }
        for (i, (name, _)) in OPERATIONS.iter().enumerate() {
            assert!(OPERATIONS.iter().skip(i + 1).all(|(other, _)| other != name), "{name} twice");
        }
    }
}
