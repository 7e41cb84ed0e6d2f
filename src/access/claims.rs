//! What a request says about who signed it, before anyone has verified it.
//!
//! The signature itself is verified by `s3s`; here is what it leaves out: that there is one mechanism only, that the
//! scope names this region and service, that a presigned URL expires within a week, and which headers were signed.

use http::{HeaderMap, StatusCode, header};

use super::query::Query;

/// Seconds that a presigned URL may be valid.
pub const MAX_EXPIRES: i64 = 7 * 24 * 60 * 60;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The query parameters that make a presigned URL; all of them are needed.
const PRESIGNED: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"];

/// The region that a deployment is in, and which ones requests may be signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    name: String,
    any: bool,
}

impl Region {
    /// The same region, where signatures for `any` other are good, too: who has moved from elsewhere need not change all clients.
    pub fn or_any(self, any: bool) -> Self {
        Self { any, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what is meant for the region of this name is meant for us.
    pub fn accepts(&self, name: &str) -> bool {
        self.any || self.name == name
    }
}

impl<T: Into<String>> From<T> for Region {
    /// The region alone.
    fn from(name: T) -> Self {
        Self { name: name.into(), any: false }
    }
}

/// Whether a region can have this name: 1 to 63 lower-case letters, digits and hyphens.
pub fn is_region(name: &str) -> bool {
    let legible = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(legible)
}

/// Where the signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// In the `Authorization` header.
    Header,
    /// In the query string: a presigned URL.
    Query,
}

/// What a signed request claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Where the signature is.
    pub mechanism: Mechanism,
    /// Whether it is one of version 2, which has no scope and covers all `x-amz-*` headers.
    pub version2: bool,
    /// The access key it is said to be made with.
    pub access_key: String,
    /// The region of its scope.
    pub region: String,
    /// The service of its scope.
    pub service: String,
    /// The headers it covers, in lower case.
    pub signed_headers: Vec<String>,
}

/// Why a claim is refused whatever the signature. [`ClaimError::code`] is what S3 calls it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Signed in the header and in the query string.
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or \
         the Authorization header should be specified"
    )]
    SeveralMechanisms,
    /// Signature version 2.
    #[error("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")]
    Version2,
    /// An `Authorization` header that is empty, not text or there twice.
    #[error("Access Denied")]
    Unreadable,
    /// Another kind of `Authorization`.
    #[error("Unsupported Authorization Type")]
    UnknownScheme,
    /// No time of signing.
    #[error("AWS authentication requires a valid Date or x-amz-date header")]
    NoDate,
    /// The header is not what it should be.
    #[error("The authorization header is malformed; {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
        /// The region that would be right, if that is what is wrong.
        region: Option<String>,
    },
    /// The presigned URL is not what it should be.
    #[error("{reason}")]
    Query {
        /// What is wrong with it.
        reason: String,
        /// The region that would be right, if that is what is wrong.
        region: Option<String>,
    },
}

impl ClaimError {
    /// S3's name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SeveralMechanisms | Self::UnknownScheme => "InvalidArgument",
            Self::Version2 => "InvalidRequest",
            Self::Unreadable | Self::NoDate => "AccessDenied",
            Self::Header { .. } => "AuthorizationHeaderMalformed",
            Self::Query { .. } => "AuthorizationQueryParametersError",
        }
    }

    /// The status that S3 answers it with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreadable | Self::NoDate => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The element that S3 adds to the error: the region that would have been right.
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Header { region, .. } | Self::Query { region, .. } => region.as_deref(),
            _ => None,
        }
    }
}

impl Claims {
    /// Reads what a request claims; `None` if it is not signed.
    ///
    /// # Errors
    /// [`ClaimError`]: the claim can be refused without looking at the signature.
    pub fn parse(headers: &HeaderMap, query: &Query) -> Result<Option<Self>, ClaimError> {
        let in_header = headers.contains_key(header::AUTHORIZATION);
        let version2 = query.has("Signature") || query.has("AWSAccessKeyId");
        let in_query = PRESIGNED.iter().take(3).any(|name| query.has(name));
        match (in_header, version2, in_query) {
            (false, false, false) => Ok(None),
            (true, false, false) => Self::from_header(headers).map(Some),
            (false, true, false) => {
                let access_key = query.get("AWSAccessKeyId").unwrap_or_default();
                Ok(Some(Self::version2(Mechanism::Query, access_key)))
            }
            (false, false, true) => Self::from_query(query).map(Some),
            _ => Err(ClaimError::SeveralMechanisms),
        }
    }

    fn version2(mechanism: Mechanism, access_key: &str) -> Self {
        Self {
            mechanism,
            version2: true,
            access_key: access_key.to_owned(),
            region: String::new(),
            service: String::new(),
            signed_headers: Vec::new(),
        }
    }

    /// Checks that the scope is this service and a region that is accepted, as S3 does before it looks at the signature.
    ///
    /// # Errors
    /// [`ClaimError::Header`] or [`ClaimError::Query`], with the right region if that is what is wrong.
    pub fn check_scope(&self, region: &Region) -> Result<(), ClaimError> {
        if self.version2 {
            return Ok(());
        }
        if self.service != "s3" {
            let reason = format!("incorrect service \"{}\". This endpoint belongs to \"s3\".", self.service);
            return Err(self.malformed(reason, None));
        }
        if !region.accepts(&self.region) {
            let reason = format!("the region '{}' is wrong; expecting '{}'", self.region, region.name());
            return Err(self.malformed(reason, Some(region.name().to_owned())));
        }
        Ok(())
    }

    fn malformed(&self, reason: String, region: Option<String>) -> ClaimError {
        match self.mechanism {
            Mechanism::Header => ClaimError::Header { reason, region },
            Mechanism::Query => {
                ClaimError::Query { reason: format!("Error parsing the X-Amz-Credential parameter; {reason}"), region }
            }
        }
    }

    fn from_header(headers: &HeaderMap) -> Result<Self, ClaimError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ClaimError::Unreadable);
        };
        let value = value.to_str().map_err(|_| ClaimError::Unreadable)?.trim();
        let (scheme, fields) = value.split_once(' ').unwrap_or((value, ""));
        match scheme {
            "" => return Err(ClaimError::Unreadable),
            "AWS" => {
                let (access_key, _) = fields.trim().split_once(':').unwrap_or_default();
                return Ok(Self::version2(Mechanism::Header, access_key));
            }
            ALGORITHM => {}
            _ => return Err(ClaimError::UnknownScheme),
        }
        let malformed = |reason: &str| ClaimError::Header { reason: reason.to_owned(), region: None };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) =
                field.trim().split_once('=').ok_or_else(|| malformed("the fields are not name=value pairs"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(malformed("it holds an unknown field")),
            };
            if place.replace(value).is_some() {
                return Err(malformed("it holds a field twice"));
            }
        }
        let (Some(credential), Some(signed_headers), Some(_)) = (credential, signed_headers, signature) else {
            return Err(malformed("it needs Credential, SignedHeaders and Signature"));
        };
        let claims = Self::assemble(Mechanism::Header, credential, signed_headers).ok_or_else(|| {
            malformed("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
        })?;
        let date = headers.get("x-amz-date").and_then(|date| date.to_str().ok()).ok_or(ClaimError::NoDate)?;
        if is_amz_date(date) { Ok(claims) } else { Err(ClaimError::NoDate) }
    }

    fn from_query(query: &Query) -> Result<Self, ClaimError> {
        let malformed = |reason: &str| ClaimError::Query { reason: reason.to_owned(), region: None };
        let [Some(algorithm), Some(credential), Some(_), Some(date), Some(signed_headers), Some(expires)] =
            PRESIGNED.map(|name| query.get(name))
        else {
            return Err(malformed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
                 X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ));
        };
        if algorithm != ALGORITHM {
            return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\""));
        }
        if !is_amz_date(date) {
            return Err(malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""));
        }
        let digits = expires.strip_prefix('-').unwrap_or(expires);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed("X-Amz-Expires should be a number"));
        }
        if expires.starts_with('-') {
            return Err(malformed("X-Amz-Expires must be non-negative"));
        }
        // A number too large for the type is too large for a week as well.
        if expires.parse::<i64>().map_or(true, |seconds| seconds > MAX_EXPIRES) {
            return Err(malformed(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
                 604800 seconds",
            ));
        }
        Self::assemble(Mechanism::Query, credential, signed_headers).ok_or_else(|| {
            malformed(
                "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \
                 \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            )
        })
    }

    fn assemble(mechanism: Mechanism, credential: &str, signed_headers: &str) -> Option<Self> {
        let mut scope = credential.split('/');
        let (access_key, date, region, service) = (scope.next()?, scope.next()?, scope.next()?, scope.next()?);
        let whole = scope.next() == Some("aws4_request") && scope.next().is_none();
        let dated = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
        (whole && dated && !access_key.is_empty()).then(|| Self {
            mechanism,
            version2: false,
            access_key: access_key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_ascii_lowercase).collect(),
        })
    }
}

/// `20260131T235959Z`.
fn is_amz_date(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// The token of a session that came with a request. What is no text is no token.
pub fn token<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let header = headers.get("x-amz-security-token").map(|value| value.to_str().unwrap_or_default());
    header.or_else(|| query.get("X-Amz-Security-Token"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260131/us-east-1/s3/aws4_request, SignedHeaders=host;X-Amz-Date, Signature=ab";

    fn header(value: &str) -> Result<Option<Claims>, ClaimError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers.insert("x-amz-date", "20260131T235959Z".parse().unwrap());
        Claims::parse(&headers, &Query::default())
    }

    fn url(query: &str) -> Result<Option<Claims>, ClaimError> {
        Claims::parse(&HeaderMap::new(), &Query::parse(Some(query)).unwrap())
    }

    fn presigned(expires: &str) -> String {
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK/20260131/us-east-1/s3/aws4_request\
             &X-Amz-Date=20260131T235959Z&X-Amz-SignedHeaders=host&X-Amz-Signature=ab&X-Amz-Expires={expires}"
        )
    }

    #[test]
    fn a_header_is_read() {
        let claims = header(GOOD).unwrap().unwrap();
        assert_eq!(claims.access_key, "AK");
        assert_eq!(claims.signed_headers, ["host", "x-amz-date"]);
        assert_eq!(claims.check_scope(&"us-east-1".into()), Ok(()));
        assert_eq!(claims.check_scope(&Region::from("eu-west-1").or_any(true)), Ok(()));
        let wrong = claims.check_scope(&"eu-west-1".into()).unwrap_err();
        assert_eq!((wrong.code(), wrong.region()), ("AuthorizationHeaderMalformed", Some("eu-west-1")));
        let sts = header(&GOOD.replace("/s3/", "/sts/")).unwrap().unwrap();
        assert_eq!(
            sts.check_scope(&Region::from("us-east-1").or_any(true)).unwrap_err().code(),
            "AuthorizationHeaderMalformed"
        );
    }

    #[test]
    fn bad_headers_are_named() {
        for (value, code) in [
            ("", "AccessDenied"),
            ("Basic YTpi", "InvalidArgument"),
            ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
            (&GOOD.replace("/s3/", "/"), "AuthorizationHeaderMalformed"),
            (&format!("{GOOD}, SignedHeaders=host"), "AuthorizationHeaderMalformed"),
            (&GOOD.replace("20260131/", "2026013/"), "AuthorizationHeaderMalformed"),
        ] {
            assert_eq!(header(value).unwrap_err().code(), code, "{value:?}");
        }
    }

    #[test]
    fn a_presigned_url_is_valid_for_a_week_at_most() {
        assert_eq!(url(&presigned("604800")).unwrap().unwrap().mechanism, Mechanism::Query);
        for expires in ["604801", "-1", "", "x", "1e3", "99999999999999999999"] {
            assert_eq!(url(&presigned(expires)).unwrap_err().code(), "AuthorizationQueryParametersError", "{expires}");
        }
        assert_eq!(url("X-Amz-Algorithm=AWS4-HMAC-SHA256").unwrap_err().code(), "AuthorizationQueryParametersError");
    }

    #[test]
    fn only_one_mechanism_counts() {
        assert!(url("Signature=x&AWSAccessKeyId=AK&Expires=1").unwrap().unwrap().version2);
        assert!(header("AWS AK:sig").unwrap().is_some_and(|claims| claims.version2 && claims.access_key == "AK"));
        assert_eq!(url(&format!("{}&Signature=x", presigned("1"))).unwrap_err(), ClaimError::SeveralMechanisms);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, GOOD.parse().unwrap());
        let query = Query::parse(Some(&presigned("1"))).unwrap();
        assert_eq!(Claims::parse(&headers, &query).unwrap_err(), ClaimError::SeveralMechanisms);
        assert_eq!(Claims::parse(&HeaderMap::new(), &Query::default()), Ok(None));
    }
}
