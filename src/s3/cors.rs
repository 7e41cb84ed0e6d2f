//! PutBucketCors, GetBucketCors, DeleteBucketCors: a bucket's rules for pages of other origins, and what they must be.
//!
//! Source: these operations in the Amazon S3 API reference, and "Elements of a CORS configuration" in the Amazon S3 user guide.
//! What S3 says of rules that cannot be is in neither; it is as S3 answers.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_request, malformed_xml, s3_error, with_detail};
use super::values::document_limit;
use crate::objects::{CORS_METHODS, CorsRule, CorsRules};

/// Rules of a bucket at most.
const RULES: usize = 100;
/// Characters of a rule's id at most.
const ID_LEN: usize = 255;
/// Bytes of the document at most.
const DOCUMENT: u64 = 64 << 10;

/// What headers' names are made of ("token" in RFC 9110).
pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn one_wildcard(element: &str, values: &[String]) -> S3Result<()> {
    match values.iter().find(|value| value.matches('*').count() > 1) {
        Some(value) => Err(invalid_request(format!("{element} \"{value}\" can not have more than one wildcard."))),
        None => Ok(()),
    }
}

fn from_rule(rule: CORSRule) -> S3Result<CorsRule> {
    let CORSRule { allowed_headers, allowed_methods, allowed_origins, expose_headers, id, max_age_seconds } = rule;
    let (headers, expose) = (allowed_headers.unwrap_or_default(), expose_headers.unwrap_or_default());
    if allowed_methods.is_empty() || allowed_origins.is_empty() {
        return Err(malformed_xml());
    }
    if id.as_ref().is_some_and(|id| id.chars().count() > ID_LEN) {
        return Err(malformed_xml());
    }
    let max_age = max_age_seconds.map(u32::try_from).transpose().map_err(|_| malformed_xml())?;
    if let Some(method) = allowed_methods.iter().find(|method| !CORS_METHODS.contains(&method.as_str())) {
        let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
        return Err(invalid_request(message));
    }
    one_wildcard("AllowedOrigin", &allowed_origins)?;
    one_wildcard("AllowedHeader", &headers)?;
    if let Some(header) = expose.iter().find(|header| header.contains('*')) {
        return Err(invalid_request(format!(
            "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
        )));
    }
    // S3 calls both of them that.
    if let Some(header) = headers.iter().chain(&expose).find(|header| !is_header_name(header)) {
        return Err(invalid_request(format!("AllowedHeader \"{header}\" contains invalid character.")));
    }
    let id = id.filter(|id| !id.is_empty());
    Ok(CorsRule { id, origins: allowed_origins, methods: allowed_methods, headers, expose, max_age })
}

fn to_rule(rule: CorsRule) -> CORSRule {
    let list = |values: Vec<String>| Some(values).filter(|values| !values.is_empty());
    CORSRule {
        allowed_headers: list(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: list(rule.expose),
        id: rule.id,
        max_age_seconds: rule.max_age.map(super::values::signed32),
    }
}

fn from_configuration(configuration: CORSConfiguration) -> S3Result<CorsRules> {
    let rules = configuration.cors_rules;
    if rules.is_empty() {
        return Err(malformed_xml());
    }
    if rules.len() > RULES {
        return Err(invalid_request(format!(
            "The number of CORS rules should not exceed allowed limit of {RULES} rules."
        )));
    }
    Ok(CorsRules(rules.into_iter().map(from_rule).collect::<S3Result<_>>()?))
}

pub(super) async fn get_bucket_cors(
    api: &Api,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    match api.store.bucket_cors(&request.input.bucket).await.map_err(from_objects)? {
        Some(CorsRules(rules)) => {
            let rules = rules.into_iter().map(to_rule).collect();
            Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules) }))
        }
        None => {
            let message = "The CORS configuration does not exist";
            let error = s3_error("NoSuchCORSConfiguration", StatusCode::NOT_FOUND, message);
            Err(with_detail(error, "BucketName", &request.input.bucket))
        }
    }
}

pub(super) async fn put_bucket_cors(
    api: &Api,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    document_limit(&request.headers, DOCUMENT)?;
    let rules = from_configuration(request.input.cors_configuration)?;
    api.store.set_bucket_cors(request.input.bucket, Some(rules)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(super) async fn delete_bucket_cors(
    api: &Api,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    api.store.set_bucket_cors(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|&text| text.to_owned()).collect()
    }

    fn rule() -> CORSRule {
        CORSRule {
            allowed_headers: Some(strings(&["x-amz-*"])),
            allowed_methods: strings(&["GET", "HEAD"]),
            allowed_origins: strings(&["http://*.a.test"]),
            expose_headers: Some(strings(&["ETag"])),
            id: Some("one".into()),
            max_age_seconds: Some(0),
        }
    }

    fn refused(rules: Vec<CORSRule>) -> (String, String) {
        let error = from_configuration(CORSConfiguration { cors_rules: rules }).unwrap_err();
        (error.code().as_str().to_owned(), error.message().unwrap().to_owned())
    }

    #[test]
    fn rules_come_back_as_they_were_given() {
        let bare = CORSRule { allowed_headers: None, expose_headers: None, id: None, max_age_seconds: None, ..rule() };
        let given = vec![rule(), bare];
        let stored = from_configuration(CORSConfiguration { cors_rules: given.clone() }).unwrap();
        let json = serde_json::to_string(&stored).unwrap();
        let stored: CorsRules = serde_json::from_str(&json).unwrap();
        assert_eq!(stored.0.into_iter().map(to_rule).collect::<Vec<_>>(), given);
        assert!(from_configuration(CORSConfiguration { cors_rules: vec![rule(); 100] }).is_ok());
        // S3 takes an empty origin.
        assert!(from_rule(CORSRule { allowed_origins: strings(&[""]), ..rule() }).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_as_s3_says_it() {
        for (bad, message) in [
            (
                CORSRule { allowed_methods: strings(&["GET", "PATCH"]), ..rule() },
                "Found unsupported HTTP method in CORS config. Unsupported method is PATCH",
            ),
            (
                CORSRule { allowed_methods: strings(&["get"]), ..rule() },
                "Found unsupported HTTP method in CORS config. Unsupported method is get",
            ),
            (
                CORSRule { allowed_origins: strings(&["http://*.*.test"]), ..rule() },
                "AllowedOrigin \"http://*.*.test\" can not have more than one wildcard.",
            ),
            (
                CORSRule { allowed_headers: Some(strings(&["**"])), ..rule() },
                "AllowedHeader \"**\" can not have more than one wildcard.",
            ),
            (
                CORSRule { allowed_headers: Some(strings(&["a b"])), ..rule() },
                "AllowedHeader \"a b\" contains invalid character.",
            ),
            (
                CORSRule { expose_headers: Some(strings(&["x-amz-*"])), ..rule() },
                "ExposeHeader \"x-amz-*\" contains wildcard. We currently do not support wildcard for ExposeHeader.",
            ),
            (
                CORSRule { expose_headers: Some(strings(&["a\nb"])), ..rule() },
                "AllowedHeader \"a\nb\" contains invalid character.",
            ),
        ] {
            assert_eq!(refused(vec![rule(), bad]), ("InvalidRequest".to_owned(), message.to_owned()));
        }
        let many = "The number of CORS rules should not exceed allowed limit of 100 rules.";
        assert_eq!(refused(vec![rule(); 101]), ("InvalidRequest".to_owned(), many.to_owned()));
        for bad in [
            CORSRule { allowed_methods: Vec::new(), ..rule() },
            CORSRule { allowed_origins: Vec::new(), ..rule() },
            CORSRule { id: Some("ä".repeat(256)), ..rule() },
            CORSRule { max_age_seconds: Some(-1), ..rule() },
        ] {
            assert_eq!(refused(vec![bad]).0, "MalformedXML");
        }
        assert_eq!(refused(Vec::new()).0, "MalformedXML");
        assert!(from_rule(CORSRule { id: Some("ä".repeat(255)), ..rule() }).is_ok());
    }
}
