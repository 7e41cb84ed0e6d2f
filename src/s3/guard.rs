//! What every verified request must meet before an operation sees it.
//!
//! `s3s` verifies signatures, and then trusts much that the signature does not cover and routes what it does not know to
//! the bare verb: without the checks here `PUT /bucket/key?renameObject` overwrites the object, `DELETE /bucket?versioning`
//! deletes the bucket, and whoever holds a presigned PUT adds `x-amz-copy-source` and reads what he likes. Everything not
//! listed here is refused.

use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::Credentials;
use s3s::dto::{
    CreateBucketInput, PutObjectAclInput, PutObjectLegalHoldInput, PutObjectRetentionInput, PutObjectTaggingInput,
};
use s3s::path::S3Path;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Result};

use super::authorize::{self, Allowed, Authorizer, Lines};
use super::parameters;
use crate::access::claims::{self, ClaimError, Claims, Region};
use crate::access::policy::Context;
use crate::access::query::Query;
use crate::access::{Directory, Identity, KeyError, Resources};
use crate::clock::Clock;
use crate::limits::Passage;
use crate::s3::post::VerifiedForm;
use crate::s3::rename::Renames;
use crate::server::{HoistedHeaders, LengthUnknown, Noted, OverTls, Preflight, Refusal, Version2Verified, WebsiteRead};

/// Operations that take a body of bytes, which must have a length.
const UPLOADS: &[&str] = &["PutObject", "UploadPart"];

/// The checks, as `s3s` calls them: after the signature, before the input is read.
#[derive(Debug, Clone)]
pub struct Guard {
    directory: Directory,
    region: Region,
    authorizer: Authorizer,
}

/// What is known of a request when it is asked what it may do.
struct Known {
    operation: String,
    who: Identity,
    query: Query,
    claims: Option<Claims>,
    form: Option<VerifiedForm>,
}

impl Guard {
    /// Requests must be signed for `region` by one of `directory`, or by nobody; what they may do with `resources` is said there.
    pub fn new(directory: Directory, region: impl Into<Region>, resources: Arc<dyn Resources>) -> Self {
        let authorizer = Authorizer::new(directory.clone(), resources);
        Self { directory, region: region.into(), authorizer }
    }

    /// Who sent a request; what is wrong with it, whoever sent it.
    fn examine(&self, cx: &mut impl Asked) -> Result<Known, Refusal> {
        // The layers in front have refused what is malformed; a request that came another way has its own answer here.
        let query = Query::parse(cx.uri().query())
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI").saying(error.to_string()))?;
        // A website reads objects for anybody, and nothing else.
        if cx.extensions_mut().get::<WebsiteRead>().is_some() {
            if !matches!(cx.operation(), "GetObject" | "HeadObject") {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "AccessDenied"));
            }
            let operation = cx.operation().to_owned();
            return Ok(Known { operation, who: Identity::anonymous(), query, claims: None, form: None });
        }
        // The PutObject of a form: the form's own signature was verified, and its policy covers what the request says.
        if let Some(form) = cx.extensions_mut().get::<VerifiedForm>().cloned() {
            let operation = cx.operation().to_owned();
            return Ok(Known { operation, who: form.who.clone(), query, claims: None, form: Some(form) });
        }
        let claims = Claims::parse(cx.headers(), &query)?;
        let who = match (&claims, cx.credentials().map(|credentials| credentials.access_key.clone())) {
            (Some(claims), Some(access_key)) => self.signer(cx, claims, &query, &access_key)?,
            (None, None) => anonymous(cx, &query)?,
            _ => return Err(Refusal::new(StatusCode::FORBIDDEN, "AccessDenied")),
        };
        let mut operation = cx.operation().to_owned();
        // s3s does not know it. It reads one object, deletes it, and puts another.
        if operation == "PutObject" && query.has("renameObject") {
            operation = "RenameObject".into();
            cx.extensions_mut().insert(Renames);
        }
        let of_object = cx.s3_path().get_object_key().is_some();
        parameters::check(&operation, cx.method(), of_object, claims.as_ref(), &query)?;
        Ok(Known { operation, who, query, claims, form: None })
    }

    /// Who signed a request, whose signature was verified.
    fn signer(
        &self,
        cx: &mut impl Asked,
        claims: &Claims,
        query: &Query,
        access_key: &str,
    ) -> Result<Identity, Refusal> {
        if claims.version2 && cx.extensions_mut().get::<Version2Verified>().is_none() {
            return Err(ClaimError::Version2.into());
        }
        claims.check_scope(&self.region)?;
        let key = match self.directory.signer(access_key, claims::token(cx.headers(), query)) {
            Ok(key) if claims.access_key == access_key => key,
            Ok(_) => return Err(Refusal::of_key(KeyError::Unknown, access_key)),
            Err(error) => return Err(Refusal::of_key(error, access_key)),
        };
        if !claims.version2 {
            let hoisted = cx.extensions_mut().get::<HoistedHeaders>().cloned().unwrap_or_default();
            check_signed(claims, cx.headers(), &hoisted)?;
        }
        Ok(key.identity.clone())
    }
}

/// What nobody may do who did not sign, whatever is allowed to everybody.
fn anonymous(cx: &impl Asked, query: &Query) -> Result<Identity, Refusal> {
    let denied = || Refusal::new(StatusCode::FORBIDDEN, "AccessDenied");
    if cx.operation() == "CreateMultipartUpload" {
        return Err(denied().saying("Anonymous users cannot initiate multipart uploads. Please authenticate."));
    }
    if query.iter().any(|(name, _)| name.starts_with("response-")) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest")
            .saying("Request specific response headers cannot be used for anonymous GET requests."));
    }
    Ok(Identity::anonymous())
}

/// Lets a request through as one of `identity`.
fn admit(cx: &mut impl Asked, identity: Identity) {
    if let Some(noted) = cx.extensions_mut().get::<Noted>() {
        noted.requester(&identity);
    }
    cx.extensions_mut().insert(identity);
}

/// What the checks look at: a request to an operation of s3s's, or to one of our own.
trait Asked: Send {
    fn operation(&self) -> &str;
    fn s3_path(&self) -> &S3Path;
    fn method(&self) -> &Method;
    fn uri(&self) -> &Uri;
    fn headers(&self) -> &HeaderMap;
    fn credentials(&self) -> Option<&Credentials>;
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl Asked for S3AccessContext<'_> {
    fn operation(&self) -> &str {
        self.s3_op().name()
    }
    fn s3_path(&self) -> &S3Path {
        S3AccessContext::s3_path(self)
    }
    fn method(&self) -> &Method {
        S3AccessContext::method(self)
    }
    fn uri(&self) -> &Uri {
        S3AccessContext::uri(self)
    }
    fn headers(&self) -> &HeaderMap {
        S3AccessContext::headers(self)
    }
    fn credentials(&self) -> Option<&Credentials> {
        S3AccessContext::credentials(self)
    }
    fn extensions_mut(&mut self) -> &mut Extensions {
        S3AccessContext::extensions_mut(self)
    }
}

/// A request to a route, which s3s has verified like any other.
struct OfRoute<'a> {
    operation: &'static str,
    path: S3Path,
    request: &'a mut S3Request<Body>,
}

impl Asked for OfRoute<'_> {
    fn operation(&self) -> &str {
        self.operation
    }
    fn s3_path(&self) -> &S3Path {
        &self.path
    }
    fn method(&self) -> &Method {
        &self.request.method
    }
    fn uri(&self) -> &Uri {
        &self.request.uri
    }
    fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }
    fn credentials(&self) -> Option<&Credentials> {
        self.request.credentials.as_ref()
    }
    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.request.extensions
    }
}

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        self.check_asked(cx).await
    }

    async fn create_bucket(&self, request: &mut S3Request<CreateBucketInput>) -> S3Result<()> {
        let configuration = request.input.create_bucket_configuration.as_ref();
        let place = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
        let add = |context: &mut Context, _| {
            if let Some(place) = place {
                context.add("s3:LocationConstraint", place.as_str());
            }
        };
        self.authorizer.resume(&request.extensions, add).await
    }

    async fn put_object_tagging(&self, request: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        let add = |context: &mut Context, _| authorize::tags(context, &request.input.tagging);
        self.authorizer.resume(&request.extensions, add).await
    }

    async fn put_object_acl(&self, request: &mut S3Request<PutObjectAclInput>) -> S3Result<()> {
        self.authorizer.resume(&request.extensions, |_, _| {}).await
    }

    async fn put_object_retention(&self, request: &mut S3Request<PutObjectRetentionInput>) -> S3Result<()> {
        let add = |context: &mut Context, now| {
            if let Some(retention) = &request.input.retention {
                authorize::retention(context, retention, now);
            }
        };
        self.authorizer.resume(&request.extensions, add).await
    }

    async fn put_object_legal_hold(&self, request: &mut S3Request<PutObjectLegalHoldInput>) -> S3Result<()> {
        let hold = request.input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
        let add = |context: &mut Context, _| {
            if let Some(status) = hold {
                context.add("s3:object-lock-legal-hold", status.as_str());
            }
        };
        self.authorizer.resume(&request.extensions, add).await
    }
}

impl Guard {
    /// The same checks of a request to a route that is this operation.
    ///
    /// # Errors
    /// The refusal.
    pub async fn check_route(
        &self,
        operation: &'static str,
        path: S3Path,
        request: &mut S3Request<Body>,
    ) -> S3Result<()> {
        self.check_asked(&mut OfRoute { operation, path, request }).await
    }

    async fn check_asked(&self, cx: &mut impl Asked) -> S3Result<()> {
        let Known { operation, who, query, claims, form } = self.examine(cx).map_err(|refusal| s3_error(&refusal))?;
        self.directory.note_use(&who.access_key);
        admit(cx, who.clone());
        let (peer, tls) = (cx.extensions_mut().get().copied(), cx.extensions_mut().get::<OverTls>().cloned());
        let noted = cx.extensions_mut().get::<Noted>().cloned();
        if let Some(noted) = &noted {
            noted.operation(&operation);
        }
        // Only now is it more than a claim: whoever names a key that he does not have uses nothing of it up.
        let passage = cx.extensions_mut().get::<Passage>().cloned();
        if let Some(passage) = &passage {
            passage.charge_key(&who.access_key).map_err(|over| s3_error(&over.into()))?;
        }
        let lines = Lines {
            operation: &operation,
            path: cx.s3_path(),
            headers: cx.headers(),
            query: &query,
            claims: claims.as_ref(),
            form: form.as_ref(),
            peer,
            tls: tls.as_ref(),
            now: Clock::system().now(),
            noted: noted.as_ref(),
        };
        let Allowed { authority, pending, unseen, considered } = self.authorizer.authorize(&who, &lines).await?;
        // Not by those whom the bucket does not let in.
        if let (Some(passage), Some(bucket)) = (&passage, cx.s3_path().get_bucket_name()) {
            passage.charge_bucket(bucket).map_err(|over| s3_error(&over.into()))?;
        }
        if UPLOADS.contains(&&*operation) && cx.extensions_mut().get::<LengthUnknown>().is_some() {
            return Err(s3_error(&Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength")));
        }
        let extensions = cx.extensions_mut();
        extensions.insert(authority);
        pending.map(|pending| extensions.insert(pending));
        unseen.map(|unseen| extensions.insert(unseen));
        considered.map(|considered| extensions.insert(considered));
        match cx.extensions_mut().get::<Preflight>() {
            Some(_) => Err(Preflight::passed()),
            None => Ok(()),
        }
    }
}

/// A refusal on its way through `s3s`.
pub fn s3_error(refusal: &Refusal) -> S3Error {
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::new(code);
    if !refusal.message.is_empty() {
        error.set_message(refusal.message.clone());
    }
    error.set_status_code(refusal.status);
    let mut headers = HeaderMap::new();
    refusal.details.put(&mut headers);
    refusal.put_headers(&mut headers);
    error.set_headers(headers);
    error
}

/// The host and every `x-amz-*` and `x-minio-*` header must be covered by the signature: they say what is done to what.
fn check_signed(claims: &Claims, headers: &HeaderMap, hoisted: &HoistedHeaders) -> Result<(), Refusal> {
    let covered = |name: &str| {
        // The payload's hash is part of what is signed even where the header is not.
        name == "x-amz-content-sha256"
            || claims.signed_headers.iter().any(|signed| signed == name)
            || hoisted.0.iter().any(|header| header.as_str() == name)
    };
    let mut unsigned: Vec<&str> = Vec::new();
    if !covered("host") {
        unsigned.push("host");
    }
    let counts = |name: &&str| name.starts_with("x-amz-") || name.starts_with("x-minio-");
    unsigned.extend(headers.keys().map(|name| name.as_str()).filter(counts).filter(|name| !covered(name)));
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "AccessDenied")
        .saying("There were headers present in the request which were not signed")
        .with("HeadersNotSigned", unsigned.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::access::claims::Mechanism;

    fn claims(mechanism: Mechanism, signed: &[&str]) -> Claims {
        Claims {
            mechanism,
            version2: false,
            access_key: "AK".into(),
            region: "us-east-1".into(),
            service: "s3".into(),
            signed_headers: signed.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    #[test]
    fn amazon_headers_must_be_signed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
        headers.insert("x-amz-date", "20260131T235959Z".parse().unwrap());
        let none = HoistedHeaders::default();
        assert_eq!(check_signed(&claims(Mechanism::Header, &["host", "x-amz-date"]), &headers, &none), Ok(()));
        headers.insert("x-amz-copy-source", "/a/b".parse().unwrap());
        let refusal = check_signed(&claims(Mechanism::Header, &["host", "x-amz-date"]), &headers, &none).unwrap_err();
        assert_eq!(refusal.details.0, [("HeadersNotSigned".into(), "x-amz-copy-source".to_owned())]);
        let hoisted = HoistedHeaders(vec![http::HeaderName::from_static("x-amz-copy-source")]);
        assert_eq!(check_signed(&claims(Mechanism::Query, &["host", "x-amz-date"]), &headers, &hoisted), Ok(()));
        let refusal = check_signed(&claims(Mechanism::Header, &["x-amz-date"]), &headers, &hoisted).unwrap_err();
        assert_eq!(refusal.details.0, [("HeadersNotSigned".into(), "host".to_owned())]);
        headers.insert("x-minio-force-delete", "true".parse().unwrap());
        let refusal = check_signed(&claims(Mechanism::Query, &["host", "x-amz-date"]), &headers, &hoisted).unwrap_err();
        assert_eq!(refusal.details.0, [("HeadersNotSigned".into(), "x-minio-force-delete".to_owned())]);
    }
}
