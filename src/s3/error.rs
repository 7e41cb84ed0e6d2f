//! From our errors to S3's: code, status, message and the extra elements of the error document.
//!
//! Source: "Error responses" in the Amazon S3 API reference.

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};

use super::values::http_date;
use crate::chunks::ChunkError;
use crate::metadata::Error as MetadataError;
use crate::objects::{BodyProblem, Error};
use crate::select::SelectError;
use crate::server::{BodyFault, ErrorDetails};

/// An S3 error of any code.
pub(super) fn s3_error(code: &str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let known = S3ErrorCode::from_bytes(code.as_bytes());
    let mut error = S3Error::with_message(known.unwrap_or(S3ErrorCode::Custom(code.into())), message.into());
    error.set_status_code(status);
    error
}

/// Adds an element to the error document.
pub(super) fn with_detail(mut error: S3Error, name: &str, value: impl AsRef<str>) -> S3Error {
    let mut headers = error.headers().cloned().unwrap_or_default();
    ErrorDetails(vec![(name.to_owned().into(), value.as_ref().to_owned())]).put(&mut headers);
    error.set_headers(headers);
    error
}

/// 400 `InvalidArgument` about one argument.
pub(super) fn invalid_argument(name: &str, value: &str, message: impl Into<String>) -> S3Error {
    let error = s3_error("InvalidArgument", StatusCode::BAD_REQUEST, message);
    with_detail(with_detail(error, "ArgumentName", name), "ArgumentValue", value)
}

/// 400 `InvalidRequest`.
pub(super) fn invalid_request(message: impl Into<String>) -> S3Error {
    s3_error("InvalidRequest", StatusCode::BAD_REQUEST, message)
}

/// 403 `AccessDenied`.
pub(super) fn access_denied(message: impl Into<String>) -> S3Error {
    s3_error("AccessDenied", StatusCode::FORBIDDEN, message)
}

/// 400 `MalformedXML`.
pub(super) fn malformed_xml() -> S3Error {
    s3_error(
        "MalformedXML",
        StatusCode::BAD_REQUEST,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// 400 `MissingRequestBodyError`.
pub(super) fn missing_body() -> S3Error {
    s3_error("MissingRequestBodyError", StatusCode::BAD_REQUEST, "Request body is empty.")
}

/// 501 `NotImplemented`: S3 has it and we do not (yet), or it has a meaning that must not be ignored.
pub(super) fn not_implemented(header: &str) -> S3Error {
    let message = "A header or parameter you provided implies functionality that is not implemented.";
    with_detail(s3_error("NotImplemented", StatusCode::NOT_IMPLEMENTED, message), "Header", header)
}

/// An error that is ours: logged in full, told in general.
fn internal(error: &dyn std::fmt::Display) -> S3Error {
    tracing::error!(%error, "internal error");
    s3_error("InternalError", StatusCode::INTERNAL_SERVER_ERROR, "We encountered an internal error. Please try again.")
}

fn unavailable(error: &dyn std::fmt::Display) -> S3Error {
    tracing::warn!(%error, "service unavailable");
    s3_error(
        "ServiceUnavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "The service is unable to handle the request now. Please reduce your request rate and try again.",
    )
}

/// The one table from our errors to S3's.
pub(super) fn from_objects(error: Error) -> S3Error {
    match error {
        Error::Metadata(error) => from_metadata(error),
        error @ Error::Replaced { .. } => unavailable(&error),
        Error::Chunks(error) => from_chunks(&error),
        Error::Body(problem) => from_body(problem),
        Error::InvalidRange { size } => {
            let message = "The requested range is not satisfiable";
            let mut error = s3_error("InvalidRange", StatusCode::RANGE_NOT_SATISFIABLE, message);
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                headers.insert(http::header::CONTENT_RANGE, value);
            }
            error.set_headers(headers);
            with_detail(error, "ActualObjectSize", size.to_string())
        }
        Error::InvalidPartNumber { number, .. } => {
            let message = "The requested partnumber is not satisfiable";
            let error = s3_error("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, message);
            with_detail(error, "PartNumberRequested", number.to_string())
        }
        Error::PreconditionFailed { header } => precondition_failed(header),
        Error::NotModified { etag, modified } => {
            let mut error = s3_error("NotModified", StatusCode::NOT_MODIFIED, "Not Modified");
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
                headers.insert(http::header::ETAG, value);
            }
            if let Ok(value) = HeaderValue::from_str(&http_date(modified)) {
                headers.insert(http::header::LAST_MODIFIED, value);
            }
            error.set_headers(headers);
            error
        }
        Error::BadDigest { expected, calculated } => {
            let message = "The Content-MD5 you specified did not match what we received.";
            let error = s3_error("BadDigest", StatusCode::BAD_REQUEST, message);
            with_detail(with_detail(error, "ExpectedDigest", expected), "CalculatedDigest", calculated)
        }
        Error::BadChecksum { algorithm } => s3_error(
            "BadDigest",
            StatusCode::BAD_REQUEST,
            format!("The {algorithm} you specified did not match the calculated checksum."),
        ),
        Error::EntityTooLarge { size, max } => {
            let message = "Your proposed upload exceeds the maximum allowed size";
            let error = s3_error("EntityTooLarge", StatusCode::BAD_REQUEST, message);
            with_detail(with_detail(error, "ProposedSize", size.to_string()), "MaxSizeAllowed", max.to_string())
        }
        Error::EntityTooSmall { number, size, min, etag } => {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            let error = s3_error("EntityTooSmall", StatusCode::BAD_REQUEST, message);
            let error =
                with_detail(with_detail(error, "ProposedSize", size.to_string()), "MinSizeAllowed", min.to_string());
            with_detail(with_detail(error, "PartNumber", number.to_string()), "ETag", etag)
        }
        Error::InvalidPart { number, upload, etag } => invalid_part(number, &upload, &etag),
        Error::InvalidPartOrder => s3_error(
            "InvalidPartOrder",
            StatusCode::BAD_REQUEST,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ),
        Error::ForeignObject { .. } => access_denied("Access Denied"),
        Error::InvalidRequest(message) => invalid_request(message),
        Error::InvalidArgument { name, value, message } => invalid_argument(&name, &value, message),
        Error::NotBuilt(what) => {
            s3_error("NotImplemented", StatusCode::NOT_IMPLEMENTED, format!("{what} are not implemented"))
        }
        Error::InvalidWriteOffset { size, .. } => {
            let message = "The write offset value that you specified does not match the current object size.";
            with_detail(
                s3_error("InvalidWriteOffset", StatusCode::BAD_REQUEST, message),
                "ActualObjectSize",
                size.to_string(),
            )
        }
        Error::NoSuchConfiguration => no_such_configuration(),
        Error::TooManyConfigurations => s3_error(
            "TooManyConfigurations",
            StatusCode::BAD_REQUEST,
            "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.",
        ),
        Error::Worker => internal(&error),
    }
}

/// 404 `NoSuchConfiguration`.
pub(super) fn no_such_configuration() -> S3Error {
    s3_error("NoSuchConfiguration", StatusCode::NOT_FOUND, "The specified configuration does not exist.")
}

/// Errors of queries, which have codes of their own.
pub(super) fn from_select(error: SelectError) -> S3Error {
    match error {
        SelectError::Refused { code, message } => s3_error(code, StatusCode::BAD_REQUEST, message),
        SelectError::NotBuilt(message) => s3_error("NotImplemented", StatusCode::NOT_IMPLEMENTED, message),
        SelectError::Storage(_) => internal(&error),
    }
}

fn precondition_failed(header: &str) -> S3Error {
    let message = "At least one of the pre-conditions you specified did not hold";
    with_detail(s3_error("PreconditionFailed", StatusCode::PRECONDITION_FAILED, message), "Condition", header)
}

fn invalid_part(number: u32, upload: &str, etag: &str) -> S3Error {
    let message = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
                   specified entity tag may not match the part's entity tag.";
    let error = s3_error("InvalidPart", StatusCode::BAD_REQUEST, message);
    let error = with_detail(with_detail(error, "UploadId", upload), "PartNumber", number.to_string());
    with_detail(error, "ETag", etag)
}

pub(super) fn from_metadata(error: MetadataError) -> S3Error {
    match error {
        MetadataError::NoSuchBucket(bucket) => with_detail(
            s3_error("NoSuchBucket", StatusCode::NOT_FOUND, "The specified bucket does not exist"),
            "BucketName",
            bucket,
        ),
        MetadataError::BucketExists(bucket) => with_detail(
            s3_error(
                "BucketAlreadyOwnedByYou",
                StatusCode::CONFLICT,
                "Your previous request to create the named bucket succeeded and you already own it.",
            ),
            "BucketName",
            bucket.name,
        ),
        MetadataError::BucketNotEmpty(bucket) => with_detail(
            s3_error("BucketNotEmpty", StatusCode::CONFLICT, "The bucket you tried to delete is not empty"),
            "BucketName",
            bucket,
        ),
        MetadataError::NoSuchKey { key, .. } => {
            with_detail(s3_error("NoSuchKey", StatusCode::NOT_FOUND, "The specified key does not exist."), "Key", key)
        }
        MetadataError::NoSuchVersion { key, version, .. } => {
            let error = s3_error("NoSuchVersion", StatusCode::NOT_FOUND, "The specified version does not exist.");
            with_detail(with_detail(error, "Key", key), "VersionId", version.as_str())
        }
        MetadataError::DeleteMarker { key, version, named, modified, .. } => {
            let mut error = if named {
                let message = "The specified method is not allowed against this resource.";
                s3_error("MethodNotAllowed", StatusCode::METHOD_NOT_ALLOWED, message)
            } else {
                s3_error("NoSuchKey", StatusCode::NOT_FOUND, "The specified key does not exist.")
            };
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            if let Ok(version) = HeaderValue::from_str(version.as_str()) {
                headers.insert("x-amz-version-id", version);
            }
            if named {
                headers.insert(http::header::ALLOW, HeaderValue::from_static("DELETE"));
                if let Ok(modified) = HeaderValue::from_str(&http_date(modified)) {
                    headers.insert(http::header::LAST_MODIFIED, modified);
                }
            }
            error.set_headers(headers);
            if named { with_detail(error, "ResourceType", "DeleteMarker") } else { with_detail(error, "Key", key) }
        }
        MetadataError::ObjectLocked { .. } => {
            s3_error("AccessDenied", StatusCode::FORBIDDEN, "Access Denied because object protected by object lock.")
        }
        MetadataError::NoObjectLock(_) => invalid_request("Bucket is missing Object Lock Configuration"),
        MetadataError::BucketState(bucket) => with_detail(
            s3_error(
                "InvalidBucketState",
                StatusCode::CONFLICT,
                "The request is not valid with the current state of the bucket.",
            ),
            "BucketName",
            bucket,
        ),
        MetadataError::NotVersioned(_) => {
            invalid_request("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
        }
        MetadataError::Replicated(bucket) => with_detail(
            s3_error(
                "InvalidBucketState",
                StatusCode::CONFLICT,
                "A replication configuration is present on this bucket, so you cannot change the versioning state. To change \
                 the versioning state, first remove the replication configuration.",
            ),
            "BucketName",
            bucket,
        ),
        MetadataError::NoSuchUpload { upload, .. } => with_detail(
            s3_error(
                "NoSuchUpload",
                StatusCode::NOT_FOUND,
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
                 completed.",
            ),
            "UploadId",
            upload.0,
        ),
        MetadataError::InvalidPart { upload, number } => invalid_part(number, &upload.0, ""),
        MetadataError::PreconditionFailed { header, .. } => precondition_failed(header),
        MetadataError::NoSuchIdentity { .. } => s3_error("AccessDenied", StatusCode::FORBIDDEN, "Access Denied"),
        MetadataError::TooManyParts { .. } => s3_error(
            "TooManyParts",
            StatusCode::BAD_REQUEST,
            "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can use the \
             CopyObject operation to copy this object to another and then add more data to the newly copied object.",
        ),
        MetadataError::TokenReused(_) => super::rename::token_reused(),
        MetadataError::KeepsVersions(bucket) => with_detail(
            s3_error(
                "NotImplemented",
                StatusCode::NOT_IMPLEMENTED,
                "This functionality is not implemented for buckets that keep versions.",
            ),
            "BucketName",
            bucket,
        ),
        MetadataError::SourceChanged => s3_error(
            "OperationAborted",
            StatusCode::CONFLICT,
            "A conflicting conditional operation is currently in progress against this resource. Try again.",
        ),
        error @ (MetadataError::Unavailable(_) | MetadataError::RangeClosed | MetadataError::Ambiguous(_)) => {
            unavailable(&error)
        }
        error => internal(&error),
    }
}

fn from_chunks(error: &ChunkError) -> S3Error {
    match error {
        ChunkError::Placement(_) | ChunkError::Ledger(_) | ChunkError::TooFewWritten { .. } => unavailable(&error),
        _ => internal(&error),
    }
}

fn from_body(problem: BodyProblem) -> S3Error {
    match problem {
        BodyProblem::Incomplete => s3_error(
            "IncompleteBody",
            StatusCode::BAD_REQUEST,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ),
        BodyProblem::NoTrailer(name) => with_detail(
            s3_error(
                "MalformedTrailerError",
                StatusCode::BAD_REQUEST,
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
            ),
            "TrailerName",
            name,
        ),
        BodyProblem::Source(error) => match BodyFault::of(&*error) {
            Some(fault) => super::guard::s3_error(&fault.refusal()),
            None => {
                tracing::debug!(%error, "the client's connection ended in the middle of a body");
                s3_error(
                    "RequestTimeout",
                    StatusCode::BAD_REQUEST,
                    "Your socket connection to the server was not read from or written to within the timeout period.",
                )
            }
        },
    }
}
