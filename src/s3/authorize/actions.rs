//! Which actions of the policy language each operation needs.
//!
//! Source: "Required permissions for Amazon S3 API operations" in the Amazon S3 user guide and "Actions, resources, and condition keys for
//! Amazon S3" in the service authorization reference.

use http::HeaderMap;

use crate::access::acl::Permission;

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// All of one's buckets.
    Service,
    /// A bucket that is not there yet.
    NewBucket,
    /// A bucket.
    Bucket,
    /// A key, whatever it holds.
    Key,
    /// What a key holds: its own ACL, owner and tags have a say.
    Object,
}

/// What an operation needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    operation: &'static str,
    pub(super) about: About,
    /// The action.
    action: &'static str,
    /// The action where a version is named.
    of_version: &'static str,
}

const fn rule(operation: &'static str, about: About, action: &'static str) -> Rule {
    Rule { operation, about, action, of_version: action }
}

const fn versioned(operation: &'static str, about: About, action: &'static str, of_version: &'static str) -> Rule {
    Rule { operation, about, action, of_version }
}

use About::{Bucket, Key, NewBucket, Object, Service};

/// All operations. Several rules of one are all needed.
const RULES: &[Rule] = &[
    rule("ListBuckets", Service, "s3:ListAllMyBuckets"),
    rule("ListenNotification", Service, "s3:ListenNotification"),
    rule("CreateBucket", NewBucket, "s3:CreateBucket"),
    // Buckets
    rule("HeadBucket", Bucket, "s3:ListBucket"),
    rule("DeleteBucket", Bucket, "s3:DeleteBucket"),
    rule("GetBucketLocation", Bucket, "s3:GetBucketLocation"),
    rule("GetBucketVersioning", Bucket, "s3:GetBucketVersioning"),
    rule("PutBucketVersioning", Bucket, "s3:PutBucketVersioning"),
    rule("GetObjectLockConfiguration", Bucket, "s3:GetBucketObjectLockConfiguration"),
    rule("PutObjectLockConfiguration", Bucket, "s3:PutBucketObjectLockConfiguration"),
    rule("GetBucketTagging", Bucket, "s3:GetBucketTagging"),
    rule("PutBucketTagging", Bucket, "s3:PutBucketTagging"),
    rule("DeleteBucketTagging", Bucket, "s3:PutBucketTagging"),
    rule("GetBucketCors", Bucket, "s3:GetBucketCORS"),
    rule("PutBucketCors", Bucket, "s3:PutBucketCORS"),
    rule("DeleteBucketCors", Bucket, "s3:PutBucketCORS"),
    rule("GetBucketWebsite", Bucket, "s3:GetBucketWebsite"),
    rule("PutBucketWebsite", Bucket, "s3:PutBucketWebsite"),
    rule("DeleteBucketWebsite", Bucket, "s3:DeleteBucketWebsite"),
    rule("GetBucketEncryption", Bucket, "s3:GetEncryptionConfiguration"),
    rule("PutBucketEncryption", Bucket, "s3:PutEncryptionConfiguration"),
    rule("DeleteBucketEncryption", Bucket, "s3:PutEncryptionConfiguration"),
    rule("GetBucketLifecycleConfiguration", Bucket, "s3:GetLifecycleConfiguration"),
    rule("PutBucketLifecycleConfiguration", Bucket, "s3:PutLifecycleConfiguration"),
    rule("DeleteBucketLifecycle", Bucket, "s3:PutLifecycleConfiguration"),
    rule("GetBucketNotificationConfiguration", Bucket, "s3:GetBucketNotification"),
    rule("PutBucketNotificationConfiguration", Bucket, "s3:PutBucketNotification"),
    rule("GetBucketLogging", Bucket, "s3:GetBucketLogging"),
    rule("PutBucketLogging", Bucket, "s3:PutBucketLogging"),
    rule("GetBucketReplication", Bucket, "s3:GetReplicationConfiguration"),
    rule("PutBucketReplication", Bucket, "s3:PutReplicationConfiguration"),
    rule("DeleteBucketReplication", Bucket, "s3:PutReplicationConfiguration"),
    rule("GetBucketInventoryConfiguration", Bucket, "s3:GetInventoryConfiguration"),
    rule("ListBucketInventoryConfigurations", Bucket, "s3:GetInventoryConfiguration"),
    rule("PutBucketInventoryConfiguration", Bucket, "s3:PutInventoryConfiguration"),
    rule("DeleteBucketInventoryConfiguration", Bucket, "s3:PutInventoryConfiguration"),
    rule("GetBucketPolicy", Bucket, "s3:GetBucketPolicy"),
    rule("PutBucketPolicy", Bucket, "s3:PutBucketPolicy"),
    rule("DeleteBucketPolicy", Bucket, "s3:DeleteBucketPolicy"),
    rule("GetBucketPolicyStatus", Bucket, "s3:GetBucketPolicyStatus"),
    rule("GetBucketAcl", Bucket, "s3:GetBucketAcl"),
    rule("PutBucketAcl", Bucket, "s3:PutBucketAcl"),
    rule("GetBucketOwnershipControls", Bucket, "s3:GetBucketOwnershipControls"),
    rule("PutBucketOwnershipControls", Bucket, "s3:PutBucketOwnershipControls"),
    rule("DeleteBucketOwnershipControls", Bucket, "s3:PutBucketOwnershipControls"),
    rule("GetPublicAccessBlock", Bucket, "s3:GetBucketPublicAccessBlock"),
    rule("PutPublicAccessBlock", Bucket, "s3:PutBucketPublicAccessBlock"),
    rule("DeletePublicAccessBlock", Bucket, "s3:PutBucketPublicAccessBlock"),
    rule("GetBucketRequestPayment", Bucket, "s3:GetBucketRequestPayment"),
    rule("PutBucketRequestPayment", Bucket, "s3:PutBucketRequestPayment"),
    rule("ListObjects", Bucket, "s3:ListBucket"),
    rule("ListObjectsV2", Bucket, "s3:ListBucket"),
    rule("ListObjectVersions", Bucket, "s3:ListBucketVersions"),
    rule("ListMultipartUploads", Bucket, "s3:ListBucketMultipartUploads"),
    rule("ListenBucketNotification", Bucket, "s3:ListenBucketNotification"),
    // Each key that it names is asked for by itself.
    rule("DeleteObjects", Bucket, ""),
    // Objects
    rule("PutObject", Key, "s3:PutObject"),
    rule("RenameObject", Key, "s3:PutObject"),
    rule("CopyObject", Key, "s3:PutObject"),
    versioned("DeleteObject", Key, "s3:DeleteObject", "s3:DeleteObjectVersion"),
    versioned("GetObject", Object, "s3:GetObject", "s3:GetObjectVersion"),
    versioned("HeadObject", Object, "s3:GetObject", "s3:GetObjectVersion"),
    versioned("GetObjectAttributes", Object, "s3:GetObject", "s3:GetObjectVersion"),
    versioned("GetObjectAttributes", Object, "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
    rule("SelectObjectContent", Object, "s3:GetObject"),
    rule("GetObjectRetention", Object, "s3:GetObjectRetention"),
    rule("PutObjectRetention", Object, "s3:PutObjectRetention"),
    rule("GetObjectLegalHold", Object, "s3:GetObjectLegalHold"),
    rule("PutObjectLegalHold", Object, "s3:PutObjectLegalHold"),
    versioned("GetObjectTagging", Object, "s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    versioned("PutObjectTagging", Object, "s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    versioned("DeleteObjectTagging", Object, "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
    versioned("GetObjectAcl", Object, "s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    versioned("PutObjectAcl", Object, "s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    // Multipart uploads
    rule("CreateMultipartUpload", Key, "s3:PutObject"),
    rule("UploadPart", Key, "s3:PutObject"),
    rule("UploadPartCopy", Key, "s3:PutObject"),
    rule("CompleteMultipartUpload", Key, "s3:PutObject"),
    rule("AbortMultipartUpload", Key, "s3:AbortMultipartUpload"),
    rule("ListParts", Key, "s3:ListMultipartUploadParts"),
];

/// The rules of an operation; none if it is not known, and nobody may.
pub(super) fn rules(operation: &str) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.operation == operation)
}

impl Rule {
    /// The action; empty where it is the operation that asks.
    pub(super) fn action(&self, version: bool) -> &'static str {
        if version { self.of_version } else { self.action }
    }
}

/// What else an operation needs for what its headers ask of it. A condition on what is there is an answer about it: one that names an ETag,
/// size or time is for those who may read the object.
pub(super) fn for_headers(operation: &str, headers: &HeaderMap) -> Vec<&'static str> {
    let has = |name: &str| headers.contains_key(name);
    let acl = || headers.keys().any(|name| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-"));
    let is_true = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let mut actions = Vec::new();
    let mut add = |needed: bool, action| {
        if needed {
            actions.push(action);
        }
    };
    let any = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes().trim_ascii() == b"*");
    let compared = has("if-match")
        || (has("if-none-match") && !any("if-none-match"))
        || (operation == "DeleteObject" && (has("x-amz-if-match-size") || has("x-amz-if-match-last-modified-time")));
    if matches!(operation, "PutObject" | "CopyObject" | "CompleteMultipartUpload" | "DeleteObject") {
        add(compared, "s3:GetObject");
    }
    match operation {
        "PutObject" | "CopyObject" | "CreateMultipartUpload" => {
            add(acl(), "s3:PutObjectAcl");
            add(has("x-amz-tagging"), "s3:PutObjectTagging");
            let lock = has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date");
            add(lock, "s3:PutObjectRetention");
            add(has("x-amz-object-lock-legal-hold"), "s3:PutObjectLegalHold");
        }
        "DeleteObject" | "PutObjectRetention" => {
            add(is_true("x-amz-bypass-governance-retention"), "s3:BypassGovernanceRetention");
        }
        "CreateBucket" => {
            add(acl(), "s3:PutBucketAcl");
            let lock = is_true("x-amz-bucket-object-lock-enabled");
            add(lock, "s3:PutBucketObjectLockConfiguration");
            add(lock, "s3:PutBucketVersioning");
            add(has("x-amz-object-ownership"), "s3:PutBucketOwnershipControls");
        }
        _ => {}
    }
    actions
}

/// Whose ACL may allow an action, and by which permission. Source: "Mapping of ACL permissions and access policy permissions"; that WRITE
/// allows deletions is in the description of the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByAcl {
    /// The bucket's.
    Bucket(Permission),
    /// The object's.
    Object(Permission),
    /// None.
    No,
}

impl ByAcl {
    pub(super) fn of(action: &str) -> Self {
        match action {
            "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => {
                Self::Bucket(Permission::Read)
            }
            "s3:PutObject" | "s3:DeleteObject" => Self::Bucket(Permission::Write),
            "s3:GetBucketAcl" => Self::Bucket(Permission::ReadAcp),
            "s3:PutBucketAcl" => Self::Bucket(Permission::WriteAcp),
            "s3:GetObject" | "s3:GetObjectVersion" => Self::Object(Permission::Read),
            "s3:GetObjectAcl" | "s3:GetObjectVersionAcl" => Self::Object(Permission::ReadAcp),
            "s3:PutObjectAcl" | "s3:PutObjectVersionAcl" => Self::Object(Permission::WriteAcp),
            _ => Self::No,
        }
    }
}

/// Whether an action is about what is set on an object while it is written, and asked of whoever will own it: its ACL and tags.
pub(super) fn is_of_writer(action: &str) -> bool {
    matches!(action, "s3:PutObjectAcl" | "s3:PutObjectTagging")
}

/// Whether an action on another account's object is that account's to allow, and not the bucket owner's, who can only forbid it.
pub(super) fn is_of_object_owner(action: &str) -> bool {
    matches!(
        action,
        "s3:GetObject"
            | "s3:GetObjectVersion"
            | "s3:GetObjectAttributes"
            | "s3:GetObjectVersionAttributes"
            | "s3:GetObjectAcl"
            | "s3:GetObjectVersionAcl"
            | "s3:PutObjectAcl"
            | "s3:PutObjectVersionAcl"
    )
}

/// Whether who started a multipart upload may do it with the upload, whoever owns the bucket.
pub(super) fn is_of_initiator(action: &str) -> bool {
    matches!(action, "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_headers_ask_for_is_needed() {
        let mut headers = HeaderMap::new();
        assert!(for_headers("PutObject", &headers).is_empty());
        headers.insert("x-amz-grant-read", http::HeaderValue::from_static("id=1"));
        headers.insert("x-amz-tagging", http::HeaderValue::from_static("a=b"));
        assert_eq!(for_headers("PutObject", &headers), ["s3:PutObjectAcl", "s3:PutObjectTagging"]);
        assert_eq!(for_headers("CreateBucket", &headers), ["s3:PutBucketAcl"]);
        headers.insert("x-amz-bypass-governance-retention", http::HeaderValue::from_static("True"));
        assert_eq!(for_headers("DeleteObject", &headers), ["s3:BypassGovernanceRetention"]);
        assert!(for_headers("GetObject", &headers).is_empty());
        for (name, value, of_put, of_delete) in [
            ("if-match", "\"e\"", true, true),
            ("if-match", "*", true, true),
            ("if-none-match", "*", false, false),
            ("if-none-match", "\"e\"", true, true),
            ("x-amz-if-match-size", "7", false, true),
            ("x-amz-if-match-last-modified-time", "now", false, true),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            for (operation, needed) in
                [("PutObject", of_put), ("CompleteMultipartUpload", of_put), ("DeleteObject", of_delete)]
            {
                assert_eq!(
                    for_headers(operation, &headers).contains(&"s3:GetObject"),
                    needed,
                    "{operation} {name}: {value}"
                );
            }
        }
    }
}
