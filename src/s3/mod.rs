//! The S3 surface: one thin implementation of s3s's trait, a module for each family of operations.
//!
//! Nothing here decides what S3 means; it translates between s3s's types and those of [`crate::objects`]. Apart from the server's layers
//! and the authentication glue, no other room knows s3s.

mod acl;
pub mod auth;
mod authorize;
mod body;
mod buckets;
mod complete;
mod copy;
pub(crate) mod cors;
mod encryption;
mod error;
pub mod guard;
pub mod host;
mod inventory;
mod lifecycle;
mod listen;
mod listing;
mod locking;
mod logging;
mod multipart;
mod notification;
mod objects;
mod ownership;
mod parameters;
mod payment;
mod policy;
pub mod post;
mod public_access;
mod rename;
mod replication;
pub mod routes;
mod rules;
mod select;
mod snowball;
mod tagging;
mod values;
mod versioning;
mod website;

use std::sync::Arc;

pub(crate) use authorize::add_general;
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};

use self::post::VerifiedForm;
use crate::access::claims::Region;
use crate::access::{Directory, Identity};
use crate::events::Origin;
use crate::objects::{BucketDefaults, Store};
use crate::server::{Noted, Peer, RequestId};

/// The implementation of S3 over a [`Store`].
#[derive(Debug, Clone)]
pub struct Api {
    store: Store,
    region: Region,
    directory: Directory,
    defaults: BucketDefaults,
}

impl Api {
    /// The API of `store`, whose buckets are in `region`, or in what others it accepts, and whose owners `directory` knows.
    pub fn new(store: Store, region: impl Into<Region>, directory: Directory) -> Self {
        Self { store, region: region.into(), directory, defaults: BucketDefaults::default() }
    }

    /// The same, with new buckets as `defaults` have them.
    #[must_use]
    pub fn with_bucket_defaults(self, defaults: BucketDefaults) -> Self {
        Self { defaults, ..self }
    }
}

impl Api {
    /// The API for one request, where that is another: reads are held against what was decided about, and who listens is told who asked.
    fn of<T>(&self, request: &S3Request<T>) -> Option<Self> {
        let seen = request.extensions.get::<authorize::Considered>();
        let origin = self.origin(request);
        if seen.is_none() && origin.is_none() {
            return None;
        }
        let mut store = self.store.clone();
        if let Some(authorize::Considered(seen)) = seen {
            store = store.having_seen(Arc::clone(seen));
        }
        if let Some(origin) = origin {
            store = store.on_behalf_of(origin);
        }
        Some(Self { store, ..self.clone() })
    }

    /// Who asked; `None` while nobody listens.
    fn origin<T>(&self, request: &S3Request<T>) -> Option<Origin> {
        if !self.store.events().is_heard() {
            return None;
        }
        let S3Request { headers, extensions, .. } = request;
        let agent = headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Some(Origin {
            principal: identity(request).map(|who| who.id).unwrap_or_default(),
            address: extensions.get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default(),
            request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            agent: agent.unwrap_or_default().to_owned(),
            form: extensions.get::<VerifiedForm>().is_some(),
        })
    }
}

/// Who asks, in S3's terms.
#[derive(Debug, Clone)]
struct Who {
    /// Canonical user id.
    id: String,
    display_name: String,
}

/// Who asks; put into the request by the guard, without which no method is reached.
fn identity<T>(request: &S3Request<T>) -> S3Result<Who> {
    match request.extensions.get::<Identity>() {
        Some(identity) => {
            Ok(Who { id: identity.account.canonical_id.to_string(), display_name: identity.account.name.to_string() })
        }
        None => Err(error::access_denied("Access Denied")),
    }
}

/// What S3 prints as the name of an account, by its canonical id; `None` if there is none (any more).
fn display_name(directory: &Directory, id: &str) -> Option<String> {
    directory.account(id).map(|account| account.name.to_string())
}

/// What an operation may tell the log of its bucket, if anybody is to be told.
fn noted<T>(request: &S3Request<T>) -> Option<Noted> {
    request.extensions.get::<Noted>().cloned()
}

/// Who may not list a bucket does not learn that something is not in it, or was deleted (which is a method that is not allowed).
fn conceal(unseen: Option<&authorize::Unseen>, error: S3Error) -> S3Error {
    let missing = ["NoSuchKey", "NoSuchVersion", "MethodNotAllowed"].contains(&error.code().as_str());
    if missing && unseen.is_some_and(authorize::Unseen::is_concealed) { authorize::denied() } else { error }
}

/// Methods that check what is not built, then delegate to their module.
macro_rules! operations {
    ($($method:ident: $input:ident => $output:ident, $module:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(
                async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    values::refuse_unbuilt_headers(&request.headers, stringify!($method))?;
                    let unseen = request.extensions.get::<authorize::Unseen>().cloned();
                    let done = match self.of(&request) {
                        Some(api) => $module::$method(&api, request).await,
                        None => $module::$method(self, request).await,
                    };
                    done.map_err(|error| conceal(unseen.as_ref(), error))
                }
            )*
        }
    };
}

operations! {
    list_buckets: ListBucketsInput => ListBucketsOutput, buckets;
    create_bucket: CreateBucketInput => CreateBucketOutput, buckets;
    head_bucket: HeadBucketInput => HeadBucketOutput, buckets;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, buckets;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, buckets;
    put_object: PutObjectInput => PutObjectOutput, objects;
    get_object: GetObjectInput => GetObjectOutput, objects;
    head_object: HeadObjectInput => HeadObjectOutput, objects;
    delete_object: DeleteObjectInput => DeleteObjectOutput, objects;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, objects;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, objects;
    select_object_content: SelectObjectContentInput => SelectObjectContentOutput, select;
    copy_object: CopyObjectInput => CopyObjectOutput, copy;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, copy;
    list_objects: ListObjectsInput => ListObjectsOutput, listing;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, listing;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, listing;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, listing;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart;
    upload_part: UploadPartInput => UploadPartOutput, multipart;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart;
    list_parts: ListPartsInput => ListPartsOutput, multipart;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, versioning;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, versioning;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, locking;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput, locking;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, locking;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, locking;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, locking;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, locking;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, tagging;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, tagging;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, tagging;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput, acl;
    put_object_acl: PutObjectAclInput => PutObjectAclOutput, acl;
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput, acl;
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput, acl;
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, ownership;
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput, ownership;
    delete_bucket_ownership_controls: DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput, ownership;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, public_access;
    put_public_access_block: PutPublicAccessBlockInput => PutPublicAccessBlockOutput, public_access;
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, public_access;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, policy;
    put_bucket_policy: PutBucketPolicyInput => PutBucketPolicyOutput, policy;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, policy;
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, policy;
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, payment;
    put_bucket_request_payment: PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput, payment;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput, tagging;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput, tagging;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput, tagging;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, cors;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, cors;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, cors;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, website;
    put_bucket_website: PutBucketWebsiteInput => PutBucketWebsiteOutput, website;
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, website;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, encryption;
    put_bucket_encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput, encryption;
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput, encryption;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, lifecycle;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput, lifecycle;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, lifecycle;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, notification;
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput, notification;
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, logging;
    put_bucket_logging: PutBucketLoggingInput => PutBucketLoggingOutput, logging;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput, replication;
    put_bucket_replication: PutBucketReplicationInput => PutBucketReplicationOutput, replication;
    delete_bucket_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput, replication;
    get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput, inventory;
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput, inventory;
    put_bucket_inventory_configuration: PutBucketInventoryConfigurationInput => PutBucketInventoryConfigurationOutput, inventory;
    delete_bucket_inventory_configuration: DeleteBucketInventoryConfigurationInput => DeleteBucketInventoryConfigurationOutput, inventory;
}
