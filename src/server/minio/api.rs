//! Which operation a request asks for, by its first line and headers alone, under the names that MinIO's metrics have for them (the
//! label `api` of `minio_s3_requests_total`). So requests that are refused before they are parsed count, too.

use http::{HeaderMap, Method};

use crate::server::target::Target;

/// What a request's path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Scope {
    Service,
    Bucket,
    Object,
}

impl Scope {
    pub(in crate::server) fn of(target: &Target) -> Self {
        match target {
            Target { of_object: true, .. } => Self::Object,
            Target { bucket: None, .. } => Self::Service,
            _ => Self::Bucket,
        }
    }
}

/// An operation: its place in [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Api(pub(super) usize);

/// All names, sorted.
pub(super) const NAMES: [&str; 70] = [
    "abortmultipartupload",
    "completemultipartupload",
    "copyobject",
    "copyobjectpart",
    "deletebucket",
    "deletebucketcors",
    "deletebucketencryption",
    "deletebucketlifecycle",
    "deletebucketpolicy",
    "deletebucketreplicationconfig",
    "deletebuckettagging",
    "deletebucketwebsite",
    "deletemultipleobjects",
    "deleteobject",
    "deleteobjecttagging",
    "getbucketaccelerate",
    "getbucketacl",
    "getbucketcors",
    "getbucketencryption",
    "getbucketlifecycle",
    "getbucketlocation",
    "getbucketlogging",
    "getbucketnotification",
    "getbucketobjectlockconfig",
    "getbucketpolicy",
    "getbucketpolicystatus",
    "getbucketreplicationconfig",
    "getbucketrequestpayment",
    "getbuckettagging",
    "getbucketversioning",
    "getbucketwebsite",
    "getobject",
    "getobjectacl",
    "getobjectattributes",
    "getobjectlegalhold",
    "getobjectretention",
    "getobjecttagging",
    "headbucket",
    "headobject",
    "listbuckets",
    "listennotification",
    "listmultipartuploads",
    "listobjectparts",
    "listobjectsv1",
    "listobjectsv2",
    "listobjectversions",
    "newmultipartupload",
    "postpolicybucket",
    "postrestoreobject",
    "putbucket",
    "putbucketacl",
    "putbucketcors",
    "putbucketencryption",
    "putbucketlifecycle",
    "putbucketlogging",
    "putbucketnotification",
    "putbucketobjectlockconfig",
    "putbucketpolicy",
    "putbucketreplicationconfig",
    "putbuckettagging",
    "putbucketversioning",
    "putbucketwebsite",
    "putobject",
    "putobjectacl",
    "putobjectlegalhold",
    "putobjectpart",
    "putobjectretention",
    "putobjecttagging",
    "renameobject",
    "selectobjectcontent",
];

/// A sub-resource, and what reading, setting and removing it is called.
type SubResource = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

const OF_BUCKETS: [SubResource; 18] = [
    ("accelerate", Some("getbucketaccelerate"), None, None),
    ("acl", Some("getbucketacl"), Some("putbucketacl"), None),
    ("cors", Some("getbucketcors"), Some("putbucketcors"), Some("deletebucketcors")),
    ("encryption", Some("getbucketencryption"), Some("putbucketencryption"), Some("deletebucketencryption")),
    ("lifecycle", Some("getbucketlifecycle"), Some("putbucketlifecycle"), Some("deletebucketlifecycle")),
    ("location", Some("getbucketlocation"), None, None),
    ("logging", Some("getbucketlogging"), Some("putbucketlogging"), None),
    ("notification", Some("getbucketnotification"), Some("putbucketnotification"), None),
    ("object-lock", Some("getbucketobjectlockconfig"), Some("putbucketobjectlockconfig"), None),
    ("policy", Some("getbucketpolicy"), Some("putbucketpolicy"), Some("deletebucketpolicy")),
    ("policyStatus", Some("getbucketpolicystatus"), None, None),
    (
        "replication",
        Some("getbucketreplicationconfig"),
        Some("putbucketreplicationconfig"),
        Some("deletebucketreplicationconfig"),
    ),
    ("requestPayment", Some("getbucketrequestpayment"), None, None),
    ("tagging", Some("getbuckettagging"), Some("putbuckettagging"), Some("deletebuckettagging")),
    ("uploads", Some("listmultipartuploads"), None, None),
    ("versioning", Some("getbucketversioning"), Some("putbucketversioning"), None),
    ("versions", Some("listobjectversions"), None, None),
    ("website", Some("getbucketwebsite"), Some("putbucketwebsite"), Some("deletebucketwebsite")),
];

const OF_OBJECTS: [SubResource; 6] = [
    ("acl", Some("getobjectacl"), Some("putobjectacl"), None),
    ("attributes", Some("getobjectattributes"), None, None),
    ("legal-hold", Some("getobjectlegalhold"), Some("putobjectlegalhold"), None),
    ("retention", Some("getobjectretention"), Some("putobjectretention"), None),
    ("tagging", Some("getobjecttagging"), Some("putobjecttagging"), Some("deleteobjecttagging")),
    ("uploadId", Some("listobjectparts"), None, Some("abortmultipartupload")),
];

impl Api {
    /// What a request asks for; `None` if it is no operation of S3.
    pub(in crate::server) fn of(method: &Method, scope: Scope, query: &str, headers: &HeaderMap) -> Option<Self> {
        NAMES.binary_search(&name(method, scope, query, headers)?).ok().map(Self)
    }

    /// What a request for a website's page asks for: it reads an object, whatever its query says.
    pub(in crate::server) fn of_page(method: &Method) -> Option<Self> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        reads.then(|| Self::of(method, Scope::Object, "", &HeaderMap::new())).flatten()
    }
}

fn name(method: &Method, scope: Scope, query: &str, headers: &HeaderMap) -> Option<&'static str> {
    let parameters = || query.split('&').map(|piece| piece.split_once('=').unwrap_or((piece, "")));
    let has = |name: &str| parameters().any(|(known, _)| known == name);
    let of_table = |table: &[SubResource]| {
        parameters().find_map(|(known, _)| table.iter().find(|(name, ..)| *name == known).copied())
    };
    let copies = || headers.contains_key("x-amz-copy-source");
    Some(match (scope, method) {
        (Scope::Service, &Method::GET) if has("events") => "listennotification",
        (Scope::Service, &Method::GET | &Method::HEAD) => "listbuckets",
        (Scope::Bucket, &Method::HEAD) => "headbucket",
        (Scope::Bucket, &Method::POST) if has("delete") => "deletemultipleobjects",
        (Scope::Bucket, &Method::POST) => "postpolicybucket",
        (Scope::Bucket, &Method::GET) => match of_table(&OF_BUCKETS) {
            Some((_, get, ..)) => get?,
            None if has("events") => "listennotification",
            None if parameters().any(|pair| pair == ("list-type", "2")) => "listobjectsv2",
            None => "listobjectsv1",
        },
        (Scope::Bucket, &Method::PUT) => match of_table(&OF_BUCKETS) {
            Some((_, _, put, _)) => put?,
            None => "putbucket",
        },
        (Scope::Bucket, &Method::DELETE) => match of_table(&OF_BUCKETS) {
            Some((.., delete)) => delete?,
            None => "deletebucket",
        },
        (Scope::Object, &Method::HEAD) => "headobject",
        (Scope::Object, &Method::GET) => match of_table(&OF_OBJECTS) {
            Some((_, get, ..)) => get?,
            None => "getobject",
        },
        (Scope::Object, &Method::PUT) if has("partNumber") => {
            if copies() {
                "copyobjectpart"
            } else {
                "putobjectpart"
            }
        }
        (Scope::Object, &Method::PUT) => match of_table(&OF_OBJECTS) {
            Some((_, _, put, _)) => put?,
            None if copies() => "copyobject",
            None if has("renameObject") => "renameobject",
            None => "putobject",
        },
        (Scope::Object, &Method::DELETE) => match of_table(&OF_OBJECTS) {
            Some((.., delete)) => delete?,
            None => "deleteobject",
        },
        (Scope::Object, &Method::POST) if has("uploads") => "newmultipartupload",
        (Scope::Object, &Method::POST) if has("uploadId") => "completemultipartupload",
        (Scope::Object, &Method::POST) if has("select") => "selectobjectcontent",
        (Scope::Object, &Method::POST) if has("restore") => "postrestoreobject",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_its_place() {
        assert!(NAMES.is_sorted(), "they are searched for");
        for (_, get, put, delete) in OF_BUCKETS.iter().chain(&OF_OBJECTS) {
            for name in [get, put, delete].into_iter().flatten() {
                assert!(NAMES.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn requests_have_the_names_of_their_operations() {
        let mut copy = HeaderMap::new();
        copy.insert("x-amz-copy-source", http::HeaderValue::from_static("/b/k"));
        let none = HeaderMap::new();
        for (method, scope, query, headers, expected) in [
            (Method::GET, Scope::Service, "", &none, Some("listbuckets")),
            (Method::POST, Scope::Service, "", &none, None),
            (Method::GET, Scope::Service, "events=s3:ObjectCreated:*", &none, Some("listennotification")),
            (Method::GET, Scope::Bucket, "", &none, Some("listobjectsv1")),
            (Method::GET, Scope::Bucket, "prefix=uploads&list-type=2", &none, Some("listobjectsv2")),
            (Method::GET, Scope::Bucket, "uploads", &none, Some("listmultipartuploads")),
            (Method::GET, Scope::Bucket, "events=s3:ObjectCreated:*", &none, Some("listennotification")),
            (Method::PUT, Scope::Bucket, "", &none, Some("putbucket")),
            (Method::PUT, Scope::Bucket, "versioning=", &none, Some("putbucketversioning")),
            (Method::PUT, Scope::Bucket, "uploads", &none, None),
            (Method::POST, Scope::Bucket, "delete", &none, Some("deletemultipleobjects")),
            (Method::DELETE, Scope::Bucket, "policy", &none, Some("deletebucketpolicy")),
            (Method::GET, Scope::Object, "X-Amz-Signature=1&x-id=GetObject", &none, Some("getobject")),
            (Method::GET, Scope::Object, "uploadId=1", &none, Some("listobjectparts")),
            (Method::PUT, Scope::Object, "x-id=PutObject", &none, Some("putobject")),
            (Method::PUT, Scope::Object, "", &copy, Some("copyobject")),
            (Method::PUT, Scope::Object, "renameObject", &none, Some("renameobject")),
            (Method::PUT, Scope::Object, "partNumber=1&uploadId=2", &none, Some("putobjectpart")),
            (Method::PUT, Scope::Object, "uploadId=2&partNumber=1", &copy, Some("copyobjectpart")),
            (Method::DELETE, Scope::Object, "uploadId=2", &none, Some("abortmultipartupload")),
            (Method::POST, Scope::Object, "uploadId=2", &none, Some("completemultipartupload")),
            (Method::PATCH, Scope::Object, "", &none, None),
        ] {
            let api = Api::of(&method, scope, query, headers).map(|api| NAMES[api.0]);
            assert_eq!(api, expected, "{method} {scope:?} {query}");
        }
    }
}
