//! JSON Web Tokens as they come: RFC 7519, in the compact form of RFC 7515.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::Algorithm;
use crate::clock::Millis;

/// Characters of a token at most: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.
const LONGEST: usize = 20_000;
/// Characters of an issuer that errors name.
const NAMED: usize = 256;

/// Why a token does not say who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token.
    #[error("The ID Token provided is not a valid JWT: {0}")]
    Malformed(&'static str),
    /// Whoever made it is not known here.
    #[error("No OpenIDConnect provider found in your account for {0}")]
    Provider(String),
    /// It is for somebody else.
    #[error("Incorrect token audience")]
    Audience,
    /// It is over.
    #[error("Token expired")]
    Expired,
    /// It is not good yet.
    #[error("Token is not valid yet")]
    Early,
    /// It is signed in a way that counts for nothing, or that is not the key's.
    #[error("The token is signed with an algorithm that is not accepted, or that its key is not for")]
    Algorithm,
    /// The provider has no such key.
    #[error(
        "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity \
         documentation for requirements"
    )]
    Key,
    /// Nobody who has the key signed it.
    #[error("Provided Token is not signed by the identity provider")]
    Signature,
    /// It does not say what it must.
    #[error("Missing a required claim, or one that cannot be read: {0}")]
    Claim(&'static str),
    /// It says more than can be kept.
    #[error("The claims of the token that policies may be about are too long: {0} bytes at most")]
    TooMuch(usize),
    /// The provider's keys are not known, and cannot be asked for now.
    #[error("The identity provider could not be reached: try again")]
    Unreachable,
}

/// What is said of how it is signed. Names that are there twice are an error.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood, which none is.
    crit: Option<Value>,
}

/// A token that was taken apart and believed in nothing.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
    /// What is signed.
    pub(super) message: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) claims: Claims,
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed("it is too long"));
        }
        const PARTS: TokenError = TokenError::Malformed("it has not three parts in Base64url");
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| PARTS);
        let (message, signature) = token.rsplit_once('.').ok_or(PARTS)?;
        let (header, claims) = message.split_once('.').ok_or(PARTS)?;
        if claims.contains('.') {
            return Err(PARTS);
        }
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed("its header cannot be read"))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed("its header has extensions"));
        }
        // Neither `none` nor what is made of a shared secret is one: a provider's public keys are no secret.
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenError::Algorithm)?;
        let claims =
            serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed("its claims cannot be read"))?;
        Ok(Self { algorithm, key: header.kid, message, signature: decode(signature)?, claims: Claims(claims) })
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    #[cfg(test)]
    pub(super) fn of(value: Value) -> Self {
        Self(value.as_object().cloned().unwrap_or_default())
    }

    /// One that is a text, and not an empty one.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, TokenError> {
        let text = self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(TokenError::Claim(name))
    }

    /// The same where it need not be there.
    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        if self.0.get(name).is_none_or(Value::is_null) { Ok(None) } else { self.text(name).map(Some) }
    }

    /// One that is a text, or several.
    pub(super) fn texts(&self, name: &'static str) -> Result<Vec<&str>, TokenError> {
        match self.0.get(name) {
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => {
                list.iter().map(|one| one.as_str().ok_or(TokenError::Claim(name))).collect::<Result<_, _>>()
            }
            _ => Err(TokenError::Claim(name)),
        }
    }

    /// One that is a moment: seconds since 1970, as a number and nothing else.
    pub(super) fn moment(&self, name: &'static str) -> Result<Option<Millis>, TokenError> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e12).ok_or(TokenError::Claim(name))?;
        Ok(Some((seconds * 1000.0) as Millis))
    }

    /// Names of policies: a text or several, each with names between commas.
    pub(super) fn names(&self, claim: &str) -> Vec<String> {
        let texts = match self.0.get(claim) {
            Some(Value::String(text)) => vec![text.as_str()],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let names = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    /// The values of a claim as condition keys have them: texts, numbers and booleans, or a list of such.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        fn value(value: &Value) -> Option<String> {
            match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(yes) => Some(yes.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            }
        }
        match self.0.get(name) {
            Some(Value::Array(list)) => list.iter().filter_map(value).collect(),
            Some(one) => value(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Who made it, for an error: nobody has verified it, and it may be anything.
    pub(super) fn stranger(&self) -> TokenError {
        match self.text("iss") {
            Ok(issuer) => TokenError::Provider(issuer.chars().filter(|c| !c.is_control()).take(NAMED).collect()),
            Err(error) => error,
        }
    }
}
