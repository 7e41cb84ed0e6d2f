//! Errors as S3 answers them: a code, a message, a status and what some codes add.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::access::KeyError;
use crate::access::claims::ClaimError;
use crate::access::form::FormError;
use crate::access::version2::Version2Error;
use crate::limits::Over;

/// Carries [`ErrorDetails`] through `s3s`, whose errors can hold headers but no further elements. Taken off every answer.
static DETAIL: HeaderName = HeaderName::from_static("x-ninefold-error-detail");

/// Further elements of an error's XML, such as `BucketName` or `Key`.
///
/// The `s3` layer writes them into an error's headers with [`ErrorDetails::put`]; the server takes them out again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDetails(pub Vec<(Cow<'static, str>, String)>);

impl ErrorDetails {
    /// Adds the elements to the headers that an `S3Error` carries (`S3Error::set_headers`).
    pub fn put(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            let text = format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(DETAIL.clone(), value);
            }
        }
    }

    /// Takes the elements out of an answer's headers.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let read = |value: &HeaderValue| {
            let (name, value) = value.to_str().ok()?.split_once('=')?;
            Some((Cow::Owned(name.to_owned()), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        };
        let details = Self(headers.get_all(&DETAIL).iter().filter_map(read).collect());
        headers.remove(&DETAIL);
        details
    }
}

/// Put into `S3Response::extensions`, sets the status of the answer, which `s3s` does not take from an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusOverride(pub StatusCode);

/// An error to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// S3's name of the error.
    pub code: Cow<'static, str>,
    /// What it says; empty for S3's own text.
    pub message: Cow<'static, str>,
    /// Further elements.
    pub details: ErrorDetails,
    /// Seconds after which to try again (`Retry-After`), where that is known.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// An error with S3's own text for its code.
    pub fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code: code.into(), message: "".into(), details: ErrorDetails::default(), retry_after: None }
    }

    /// There is too much to do; it may be less after so many seconds.
    pub fn slow_down(retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown") }
    }

    /// Adds what is said in headers to those of an answer.
    pub fn put_headers(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }

    /// Nobody may sign with this access key.
    pub fn of_key(error: KeyError, access_key: &str) -> Self {
        let refusal = Self::new(error.status(), error.code()).saying(error.to_string());
        refusal.with("AWSAccessKeyId", access_key)
    }

    /// The same with another text.
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// The same with one more element.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.0.push((name.into(), value.into()));
        self
    }

    /// What it says.
    pub(super) fn message(&self) -> &str {
        if self.message.is_empty() { default_message(&self.code) } else { &self.message }
    }

    /// The XML. `resource` is the path, `host_id` which server answered.
    pub(super) fn xml(&self, resource: &str, request_id: &str, host_id: &str) -> String {
        let mut xml = String::with_capacity(320);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        element(&mut xml, "Code", &self.code);
        element(&mut xml, "Message", self.message());
        for (name, value) in &self.details.0 {
            element(&mut xml, name, value);
        }
        element(&mut xml, "Resource", resource);
        element(&mut xml, "RequestId", request_id);
        element(&mut xml, "HostId", host_id);
        xml.push_str("</Error>");
        xml
    }
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        Self::slow_down(over.retry_after())
    }
}

impl From<Version2Error> for Refusal {
    fn from(error: Version2Error) -> Self {
        let (code, status) = error.code();
        let refusal = Self::new(status, code).saying(error.to_string());
        match error {
            Version2Error::Key(_, access_key) => refusal.with("AWSAccessKeyId", access_key),
            Version2Error::Mismatch { access_key, string_to_sign, signature } => refusal
                .with("AWSAccessKeyId", access_key)
                .with("StringToSign", string_to_sign)
                .with("SignatureProvided", signature),
            _ => refusal,
        }
    }
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Self {
        let refusal = Self::new(error.status(), error.code()).saying(error.to_string());
        error.details().into_iter().fold(refusal, |refusal, (name, value)| refusal.with(name, value))
    }
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        let refusal = Self::new(error.status(), error.code()).saying(error.to_string());
        match error.region() {
            Some(region) => refusal.with("Region", region),
            None => refusal,
        }
    }
}

/// Appends an element with this text.
pub fn element(xml: &mut String, name: &str, text: &str) {
    // XML 1.0 has no way to write control characters, not even as references.
    let legal: String = text.chars().map(|c| if legal_in_xml(c) { c } else { '\u{fffd}' }).collect();
    // Writing to a String cannot fail. Quotes stay as they are, as S3 has them in its messages, and clients look for them.
    let _ = write!(xml, "<{name}>{}</{name}>", quick_xml::escape::partial_escape(legal.as_str()));
}

fn legal_in_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What S3 says with a code when nothing more particular is known.
pub(super) fn default_message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BadDigest" => "The Content-MD5 or checksum value that you specified did not match what the server received.",
        "BucketAlreadyExists" => {
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. \
             Please select a different name and try again."
        }
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed size",
        // Of websites alone.
        "Found" => "Resource Found",
        "IllegalLocationConstraintException" => {
            "The specified location constraint is incompatible for the region specific endpoint this request was sent to."
        }
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header",
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidAccessKeyId" => "The AWS Access Key Id you provided does not exist in our records.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 you specified was invalid.",
        "InvalidLocationConstraint" => "The specified location-constraint is not valid",
        "InvalidObjectState" => "The operation is not valid for the object's storage class",
        "InvalidPart" => {
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag."
        }
        "InvalidPartNumber" => "The requested partnumber is not satisfiable",
        "InvalidPartOrder" => "The list of parts was not in ascending order. Parts must be ordered by part number.",
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidRequest" => "Invalid Request",
        "InvalidStorageClass" => "The storage class you specified is not valid",
        "InvalidTag" => "The tag provided was not a valid tag.",
        "InvalidToken" => "The provided token is malformed or otherwise invalid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedPOSTRequest" => "The body of your POST request is not well-formed multipart/form-data.",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        // The spelling is S3's.
        "MaxPostPreDataLengthExceeded" => "Your POST request fields preceeding the upload file was too large.",
        "MetadataTooLarge" => "Your metadata headers exceed the maximum allowed metadata size",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchUpload" => {
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or \
             completed."
        }
        "NoSuchVersion" => "The specified version does not exist.",
        "NoSuchWebsiteConfiguration" => "The specified bucket does not have a website configuration",
        "NotImplemented" => "A header you provided implies functionality that is not implemented",
        "NotModified" => "Not Modified",
        "OperationAborted" => {
            "A conflicting conditional operation is currently in progress against this resource. Please try again."
        }
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => "The difference between the request time and the current time is too large.",
        "RequestTimeout" => {
            "Your socket connection to the server was not read from or written to within the timeout period. Idle \
             connections will be closed."
        }
        "ServiceUnavailable" | "SlowDown" => "Please reduce your request rate.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        "XAmzContentSHA256Mismatch" => "The provided 'x-amz-content-sha256' header does not match what was computed.",
        _ => "The request could not be served.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_travel_in_headers_and_come_out_whole() {
        let details = ErrorDetails(vec![("Key".into(), "a=b%/ü\u{1}\n".into()), ("BucketName".into(), String::new())]);
        let mut headers = HeaderMap::new();
        details.put(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(ErrorDetails::take(&mut headers), details);
        assert!(headers.is_empty());
    }

    #[test]
    fn the_xml_is_well_formed_whatever_it_says() {
        let xml =
            Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey").with("Key", "<&\">\u{1}\u{ffff}").xml("/b/<", "ID", "H");
        assert!(xml.contains("<Message>The specified key does not exist.</Message>"), "{xml}");
        assert!(xml.contains("<Key>&lt;&amp;\"&gt;\u{fffd}\u{fffd}</Key><Resource>/b/&lt;</Resource>"), "{xml}");
        assert!(xml.ends_with("<RequestId>ID</RequestId><HostId>H</HostId></Error>"), "{xml}");
    }
}
