//! PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite: how a bucket is a website, and what may be said of that.
//!
//! Source: these operations, and WebsiteConfiguration and what is in it, in the Amazon S3 API reference. What S3 says of
//! configurations that cannot be is in neither; it is as S3 answers.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::error::{from_objects, invalid_argument, invalid_request, malformed_xml, s3_error, with_detail};
use super::values::{check_key, document_limit};
use crate::objects::{Pages, Replace, RoutingRule as Rule, WebProtocol, Website};

/// Routing rules of a bucket at most.
const RULES: usize = 50;
/// Bytes of the document at most.
const DOCUMENT: u64 = 128 << 10;

fn from_protocol(protocol: Option<Protocol>) -> S3Result<Option<WebProtocol>> {
    match protocol.as_ref().map(Protocol::as_str) {
        None => Ok(None),
        Some("http") => Ok(Some(WebProtocol::Http)),
        Some("https") => Ok(Some(WebProtocol::Https)),
        Some(_) => Err(invalid_request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

fn to_protocol(protocol: Option<WebProtocol>) -> Option<Protocol> {
    protocol.map(|protocol| Protocol::from_static(protocol.name()))
}

fn from_host(host: String) -> S3Result<String> {
    if host.is_empty() { Err(malformed_xml()) } else { Ok(host) }
}

/// A status within `valid`; `message` is asked for what was given instead.
fn from_code(
    given: Option<String>,
    valid: std::ops::RangeInclusive<u16>,
    message: impl Fn(&str) -> String,
) -> S3Result<Option<u16>> {
    let Some(given) = given else { return Ok(None) };
    match given.parse::<u16>().ok().filter(|code| valid.contains(code)) {
        Some(code) => Ok(Some(code)),
        None => Err(invalid_request(message(&given))),
    }
}

fn from_rule(rule: RoutingRule) -> S3Result<Rule> {
    let Redirect { host_name, http_redirect_code, protocol, replace_key_prefix_with, replace_key_with } = rule.redirect;
    let code = from_code(http_redirect_code, 301..=399, |given| {
        format!("The provided HTTP redirect code ({given}) is not valid. Valid codes are 3XX except 300.")
    })?;
    let replace = match (replace_key_with, replace_key_prefix_with) {
        (Some(_), Some(_)) => {
            return Err(invalid_request("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
        }
        (Some(key), None) => Some(Replace::Key(key)),
        (None, Some(prefix)) => Some(Replace::Prefix(prefix)),
        (None, None) => None,
    };
    let (prefix, error) = match rule.condition {
        None => (None, None),
        Some(Condition { http_error_code_returned_equals: None, key_prefix_equals: None }) => {
            return Err(invalid_request(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be \
                 present.",
            ));
        }
        Some(Condition { http_error_code_returned_equals, key_prefix_equals }) => {
            let error = from_code(http_error_code_returned_equals, 400..=599, |given| {
                format!("The provided HTTP error code ({given}) is not valid. Valid codes are 4XX or 5XX.")
            })?;
            (key_prefix_equals, error)
        }
    };
    let host = host_name.map(from_host).transpose()?;
    let protocol = from_protocol(protocol)?;
    // It would lead to where one is.
    if host.is_none() && protocol.is_none() && code.is_none() && replace.is_none() {
        return Err(malformed_xml());
    }
    Ok(Rule { prefix, error, host, protocol, code, replace })
}

fn to_rule(rule: Rule) -> RoutingRule {
    let condition = (rule.prefix.is_some() || rule.error.is_some()).then_some(Condition {
        http_error_code_returned_equals: rule.error.map(|code| code.to_string()),
        key_prefix_equals: rule.prefix,
    });
    let (replace_key_with, replace_key_prefix_with) = match rule.replace {
        None => (None, None),
        Some(Replace::Key(key)) => (Some(key), None),
        Some(Replace::Prefix(prefix)) => (None, Some(prefix)),
    };
    let redirect = Redirect {
        host_name: rule.host,
        http_redirect_code: rule.code.map(|code| code.to_string()),
        protocol: to_protocol(rule.protocol),
        replace_key_prefix_with,
        replace_key_with,
    };
    RoutingRule { condition, redirect }
}

fn from_configuration(configuration: WebsiteConfiguration) -> S3Result<Website> {
    let WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules } =
        configuration;
    if let Some(RedirectAllRequestsTo { host_name, protocol }) = redirect_all_requests_to {
        if error_document.is_some() || index_document.is_some() || routing_rules.is_some() {
            let message = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.";
            return Err(invalid_argument("RedirectAllRequestsTo", "not null", message));
        }
        return Ok(Website::RedirectAll { host: from_host(host_name)?, protocol: from_protocol(protocol)? });
    }
    let Some(IndexDocument { suffix: index }) = index_document else {
        let message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty";
        return Err(invalid_argument("IndexDocument", "null", message));
    };
    if index.is_empty() || index.contains('/') {
        return Err(invalid_argument("IndexDocument", &index, "The IndexDocument Suffix is not well formed"));
    }
    check_key(&index)?;
    let error = error_document.map(|document| document.key);
    if let Some(key) = &error {
        if key.is_empty() {
            return Err(invalid_argument("ErrorDocument", key, "The ErrorDocument Key is not well formed"));
        }
        check_key(key)?;
    }
    let rules = match routing_rules {
        None => Vec::new(),
        Some(rules) if rules.is_empty() => return Err(malformed_xml()),
        Some(rules) if rules.len() > RULES => {
            return Err(invalid_request(format!(
                "{} routing rules provided, the number of routing rules in a website configuration is limited to {RULES}.",
                rules.len()
            )));
        }
        Some(rules) => rules.into_iter().map(from_rule).collect::<S3Result<_>>()?,
    };
    Ok(Website::Pages(Pages { index, error, rules }))
}

pub(super) async fn get_bucket_website(
    api: &Api,
    request: S3Request<GetBucketWebsiteInput>,
) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    let output = match api.store.bucket_website(&request.input.bucket).await.map_err(from_objects)? {
        None => {
            let message = "The specified bucket does not have a website configuration";
            let error = s3_error("NoSuchWebsiteConfiguration", StatusCode::NOT_FOUND, message);
            return Err(with_detail(error, "BucketName", &request.input.bucket));
        }
        Some(Website::RedirectAll { host, protocol }) => GetBucketWebsiteOutput {
            redirect_all_requests_to: Some(RedirectAllRequestsTo { host_name: host, protocol: to_protocol(protocol) }),
            ..Default::default()
        },
        Some(Website::Pages(Pages { index, error, rules })) => GetBucketWebsiteOutput {
            index_document: Some(IndexDocument { suffix: index }),
            error_document: error.map(|key| ErrorDocument { key }),
            routing_rules: Some(rules.into_iter().map(to_rule).collect()).filter(|rules: &Vec<_>| !rules.is_empty()),
            ..Default::default()
        },
    };
    Ok(S3Response::new(output))
}

pub(super) async fn put_bucket_website(
    api: &Api,
    request: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    document_limit(&request.headers, DOCUMENT)?;
    let website = from_configuration(request.input.website_configuration)?;
    api.store.set_bucket_website(request.input.bucket, Some(website)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

pub(super) async fn delete_bucket_website(
    api: &Api,
    request: S3Request<DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
    api.store.set_bucket_website(request.input.bucket, None).await.map_err(from_objects)?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pages(rules: Option<Vec<RoutingRule>>) -> WebsiteConfiguration {
        WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: "index.html".into() }),
            routing_rules: rules,
            ..Default::default()
        }
    }

    fn rule() -> RoutingRule {
        RoutingRule { condition: None, redirect: Redirect { host_name: Some("a.test".into()), ..Default::default() } }
    }

    fn refused(configuration: WebsiteConfiguration) -> (String, String) {
        let error = from_configuration(configuration).unwrap_err();
        (error.code().as_str().to_owned(), error.message().unwrap().to_owned())
    }

    #[test]
    fn rules_come_back_as_they_were_given() {
        let condition = Condition { http_error_code_returned_equals: Some("404".into()), key_prefix_equals: None };
        let prefix = Condition { http_error_code_returned_equals: None, key_prefix_equals: Some("docs/".into()) };
        let whole = Redirect {
            host_name: Some("a.test".into()),
            http_redirect_code: Some("308".into()),
            protocol: Some(Protocol::from_static("https")),
            replace_key_prefix_with: Some(String::new()),
            replace_key_with: None,
        };
        let key = Redirect { replace_key_with: Some("x".into()), ..Default::default() };
        let given = vec![
            rule(),
            RoutingRule { condition: Some(condition), redirect: whole },
            RoutingRule { condition: Some(prefix), redirect: key },
        ];
        let stored = from_configuration(pages(Some(given.clone()))).unwrap();
        let stored: Website = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        let Website::Pages(stored) = stored else { panic!("{stored:?}") };
        assert_eq!(stored.rules.into_iter().map(to_rule).collect::<Vec<_>>(), given);
        assert!(from_configuration(pages(Some(vec![rule(); 50]))).is_ok());
        let all = Website::RedirectAll { host: "a.test".into(), protocol: None };
        assert_eq!(serde_json::from_str::<Website>(&serde_json::to_string(&all).unwrap()).unwrap(), all);
    }

    #[test]
    fn what_is_wrong_is_said_as_s3_says_it() {
        let with = |redirect| pages(Some(vec![rule(), RoutingRule { condition: None, redirect }]));
        let when = |error: Option<&str>| {
            let condition =
                Condition { http_error_code_returned_equals: error.map(str::to_owned), key_prefix_equals: None };
            pages(Some(vec![RoutingRule { condition: Some(condition), ..rule() }]))
        };
        let index = |suffix: &str| WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: suffix.into() }),
            ..Default::default()
        };
        let all = |host: &str, protocol: Option<&'static str>| {
            Some(RedirectAllRequestsTo { host_name: host.into(), protocol: protocol.map(Protocol::from_static) })
        };
        let redirecting = |redirect| WebsiteConfiguration { redirect_all_requests_to: redirect, ..Default::default() };
        let protocol = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.";
        let malformed = "The XML you provided was not well-formed or did not validate against our published schema";
        for (bad, code, message) in [
            (
                WebsiteConfiguration { redirect_all_requests_to: all("a.test", None), ..pages(None) },
                "InvalidArgument",
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            ),
            (redirecting(all("", None)), "MalformedXML", malformed),
            (redirecting(all("a.test", Some("ftp"))), "InvalidRequest", protocol),
            (
                WebsiteConfiguration::default(),
                "InvalidArgument",
                "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            ),
            (index(""), "InvalidArgument", "The IndexDocument Suffix is not well formed"),
            (index("a/b"), "InvalidArgument", "The IndexDocument Suffix is not well formed"),
            (
                WebsiteConfiguration { error_document: Some(ErrorDocument { key: String::new() }), ..pages(None) },
                "InvalidArgument",
                "The ErrorDocument Key is not well formed",
            ),
            (
                WebsiteConfiguration { error_document: Some(ErrorDocument { key: "k".repeat(1025) }), ..pages(None) },
                "KeyTooLongError",
                "Your key is too long",
            ),
            (pages(Some(Vec::new())), "MalformedXML", malformed),
            (
                pages(Some(vec![rule(); 51])),
                "InvalidRequest",
                "51 routing rules provided, the number of routing rules in a website configuration is limited to 50.",
            ),
            (with(Redirect::default()), "MalformedXML", malformed),
            (
                with(Redirect {
                    replace_key_with: Some("a".into()),
                    replace_key_prefix_with: Some("b".into()),
                    ..Default::default()
                }),
                "InvalidRequest",
                "You can only define ReplaceKeyPrefix or ReplaceKey but not both.",
            ),
            (
                with(Redirect { protocol: Some(Protocol::from_static("http2")), ..Default::default() }),
                "InvalidRequest",
                protocol,
            ),
            (
                with(Redirect { http_redirect_code: Some("300".into()), ..Default::default() }),
                "InvalidRequest",
                "The provided HTTP redirect code (300) is not valid. Valid codes are 3XX except 300.",
            ),
            (
                with(Redirect { http_redirect_code: Some("moved".into()), ..Default::default() }),
                "InvalidRequest",
                "The provided HTTP redirect code (moved) is not valid. Valid codes are 3XX except 300.",
            ),
            (
                when(Some("200")),
                "InvalidRequest",
                "The provided HTTP error code (200) is not valid. Valid codes are 4XX or 5XX.",
            ),
            (
                when(None),
                "InvalidRequest",
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be \
                 present.",
            ),
        ] {
            assert_eq!(refused(bad), (code.to_owned(), message.to_owned()));
        }
    }
}
