//! Uploads by form: taken apart, judged, and sent on to `s3s` as the PutObject that they mean.
//!
//! `s3s` has a way of its own for them, which holds the file in memory, before anyone has looked at who sent it, and knows half of the
//! fields: no request that it would take for a form is let through to it.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;

use super::answer::{self, Asked};
use super::body::Watching;
use super::document::Announced;
use super::form::{self, Delimiter};
use super::target::Target;
use super::{BodyWatch, Inner, Refusal, lengths};
use crate::access::claims::Claims;
use crate::access::query::Query;
use crate::clock::Clock;
use crate::s3::host::is_bucket_name;
use crate::s3::post::Upload;

impl Inner {
    /// The bucket to which a request with these first lines would upload a form; `None` if it is something else.
    ///
    /// # Errors
    /// It is no form where S3 wants one, or a form where S3 wants none.
    pub(super) fn form_target(
        parts: &Parts,
        target: &Target,
        query: &Query,
        claims: Option<&Claims>,
    ) -> Result<Option<String>, Refusal> {
        if parts.method != Method::POST {
            return Ok(None);
        }
        let form = form::is_form(parts.headers.get(header::CONTENT_TYPE));
        if query.iter().next().is_some() {
            // The request of some sub-resource. s3s would read its body as a form's all the same.
            return if form {
                let refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
                Err(refusal.saying("Forms are taken as uploads to a bucket, without parameters"))
            } else {
                Ok(None)
            };
        }
        let (Some(bucket), false) = (&target.bucket, target.of_object) else {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
            return if form { Err(refusal.with("Method", "POST").with("ResourceType", "OBJECT")) } else { Ok(None) };
        };
        if !form {
            let condition = "Bucket POST must be of the enclosure-type multipart/form-data";
            return Err(
                Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed").with("Condition", condition)
            );
        }
        if claims.is_some() {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest");
            return Err(refusal.saying("A form is signed by its fields, not by a header"));
        }
        if !is_bucket_name(bucket) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidBucketName").with("BucketName", bucket));
        }
        Ok(Some(bucket.clone()))
    }

    /// Stores the file of a form.
    pub(super) async fn post<B>(
        &self,
        (bucket, by_host): (String, bool),
        parts: Parts,
        body: B,
        asked: &Asked,
        watch: &BodyWatch,
    ) -> Result<Response<s3s::Body>, Refusal>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let delimiter = Delimiter::of(parts.headers.get(header::CONTENT_TYPE)).map_err(|fault| fault.refusal())?;
        lengths::check_form(&parts, body.size_hint().exact())?;
        let body = Watching::new(body, watch.clone(), self.silence, Announced::default());
        watch.hold(lengths::UPLOAD)?;
        let form = form::read(body, delimiter).await.map_err(|fault| fault.refusal())?;
        let now = Clock::system().now();
        let (fields, name) = (form.fields.clone(), form.file_name.clone());
        let upload = Upload::accept(&self.forms, now, bucket, by_host, fields, name.as_deref())?;
        let put = upload.request(&parts)?;
        let (least, most) = upload.length.clone().into_inner();
        let (file, verdict) = form.file(least..=most.min(lengths::MAX_UPLOAD));
        let response = self.call_s3(Request::from_parts(put, s3s::Body::http_body_unsync(file))).await;
        // Whatever the operation made of a file that ended in an error, that it did is the reason.
        if let Some(fault) = verdict.get() {
            return Err(fault.refusal());
        }
        let response = answer::complete(response, asked, watch, &self.host_id);
        Ok(if response.status().is_success() { upload.answer(&parts, response) } else { response })
    }
}
