//! The keys that a provider signs with, and the signatures: RFC 7517, RFC 7518 and RFC 8037.
//!
//! Which algorithms a key is for is its type's to say, so that none is taken for another; symmetric keys are none.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;

use super::token::TokenError;

/// Keys of one provider at most.
const MOST: usize = 128;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// `None`: there is none of this name, or it is one that everybody could sign with.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// Of keys of 2,048 to 8,192 bits.
    fn of_rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }
}

/// What a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    material: Material,
}

/// A key as it is written. What is not said here says nothing.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// `None`: it is none that signatures could be verified with here.
    fn read(written: Written) -> Option<Self> {
        let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        if written.usage.is_some_and(|usage| usage != "sig")
            || written.key_ops.is_some_and(|operations| !operations.iter().any(|one| one == "verify"))
        {
            return None;
        }
        let only = match written.alg {
            Some(name) => Some(Algorithm::named(&name)?),
            None => None,
        };
        let point = |length: usize| {
            let (x, y) = (bytes(written.x.clone())?, bytes(written.y.clone())?);
            (x.len() == length && y.len() == length).then(|| [&[4], &*x, &*y].concat())
        };
        let material = match (&*written.kty, written.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(written.n)?, e: bytes(written.e)? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(written.x)?),
            _ => return None,
        };
        Some(Self { id: written.kid, only, material })
    }

    /// Whether it is for an algorithm.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let is_kind = match self.material {
            Material::Rsa { .. } => algorithm.of_rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        is_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it signed this.
    pub(super) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verify = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm.of_rsa()) {
            (Material::Rsa { n, e }, Some(how)) => {
                RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()
            }
            (Material::P256(point), None) => verify(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), None) => verify(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Material::Ed25519(key), None) => verify(&signature::ED25519, key),
            _ => false,
        }
    }
}

/// All keys of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a JSON Web Key Set; keys that are of no use here are left out. `None`: it is none.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let Set { keys } = serde_json::from_slice(text).ok()?;
        let keys = keys.into_iter().filter_map(|key| Key::read(serde_json::from_value(key).ok()?));
        Some(Self(keys.take(MOST).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that a token was signed with, by the name that the token has for it; a token may leave that out where there is one key for it.
    ///
    /// # Errors
    /// [`TokenError::Key`]: there is none; [`TokenError::Algorithm`]: it is not for this algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let named: Vec<&Key> = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).collect();
        let mut fit = named.iter().filter(|key| key.is_for(algorithm));
        match (fit.next(), fit.next()) {
            (Some(key), None) => Ok(key),
            (None, _) if id.is_some() && !named.is_empty() => Err(TokenError::Algorithm),
            _ => Err(TokenError::Key),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn rsa(more: Value) -> Value {
        let mut key = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn keys(keys: &[Value]) -> Keys {
        Keys::read(json!({"keys": keys, "other": 1}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn keys_of_no_use_are_left_out() {
        let x = BASE64_URL_SAFE_NO_PAD.encode([1; 32]);
        let all = [
            rsa(json!({"use": "enc"})),
            rsa(json!({"key_ops": ["sign"]})),
            rsa(json!({"alg": "RSA-OAEP"})),
            rsa(json!({"alg": "HS256"})),
            rsa(json!({"n": "!"})),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "EC", "crv": "P-521", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": "AAAA"}),
            json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}),
            json!({"kty": "OKP", "crv": "X25519", "x": x}),
            json!({"kid": "without a type"}),
            json!("text"),
        ];
        assert_eq!(keys(&all), Keys::default());
        let good = [
            rsa(json!({"use": "sig", "alg": "RS256", "kid": "a", "x5c": []})),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": x, "key_ops": ["verify"]}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
        ];
        assert_eq!(keys(&good).len(), 3);
        for text in ["", "[]", "{}", "{\"keys\":1}"] {
            assert_eq!(Keys::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(keys(&vec![rsa(json!({})); 500]).len(), MOST);
    }

    #[test]
    fn a_key_is_found_by_its_name_and_for_its_algorithms() {
        use Algorithm::{EdDsa, Es256, Ps256, Rs256, Rs512};
        let x = BASE64_URL_SAFE_NO_PAD.encode([1; 32]);
        let set = keys(&[
            rsa(json!({"kid": "any"})),
            rsa(json!({"kid": "one", "alg": "RS256"})),
            json!({"kty": "EC", "crv": "P-256", "kid": "point", "x": x, "y": x}),
            // Of two types under one name it is the one that fits.
            rsa(json!({"kid": "both"})),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "both", "x": x}),
        ]);
        for (id, algorithm, expected) in [
            (Some("any"), Rs256, Ok(())),
            (Some("any"), Ps256, Ok(())),
            (Some("any"), Es256, Err(TokenError::Algorithm)),
            (Some("one"), Rs256, Ok(())),
            (Some("one"), Rs512, Err(TokenError::Algorithm)),
            (Some("point"), Es256, Ok(())),
            (Some("point"), Rs256, Err(TokenError::Algorithm)),
            (Some("both"), Rs256, Ok(())),
            (Some("both"), EdDsa, Ok(())),
            (Some("nobody's"), Rs256, Err(TokenError::Key)),
            (None, Es256, Ok(())),
            (None, Rs512, Err(TokenError::Key)),
        ] {
            assert_eq!(set.find(id, algorithm).map(|_| ()), expected, "{id:?} {algorithm:?}");
        }
        for name in ["none", "None", "HS256", "HS512", "rs256", "ES512", "RSA-OAEP", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
