//! The bearer token of MinIO's metrics: a JSON Web Token (RFC 7519, 7515) that whoever has the secret key makes for themselves.
//!
//! It is what `mc admin prometheus generate` makes: HMAC-SHA-512 with the secret key over header and claims, issuer `prometheus`, the
//! access key as subject, and an end.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha512;

use crate::access::Secret;

const ISSUER: &str = "prometheus";

/// A longer one is none.
const MAX_TOKEN: usize = 8 << 10;

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515, section 4.1.11): we understand none.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

/// Whether the value of an `Authorization` header is a token that the owner of this key made and that is valid at `now`, in seconds.
pub(super) fn is_valid(authorization: &str, access_key: &str, secret: &Secret, now: u64) -> bool {
    verify(authorization, access_key, secret, now).is_some()
}

fn verify(authorization: &str, access_key: &str, secret: &Secret, now: u64) -> Option<()> {
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    // Nothing in the token is believed before its signature is: not even which algorithm it says.
    let mut mac = Hmac::<Sha512>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(signed.as_bytes());
    // In constant time, and the whole of it.
    mac.verify_slice(&signature).ok()?;
    let header: Header = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let typ = header.typ.as_deref().unwrap_or("JWT");
    if header.alg != "HS512" || !typ.eq_ignore_ascii_case("JWT") || header.crit.is_some() {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let now = now as f64;
    let in_time = claims.exp > now && claims.nbf.is_none_or(|begin| begin <= now);
    (claims.iss == ISSUER && claims.sub == access_key && in_time).then_some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn token(header: &str, claims: &str, secret: &str) -> String {
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let mut mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("any key will do");
        mac.update(signed.as_bytes());
        format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn valid(authorization: &str) -> bool {
        is_valid(authorization, "AKEY", &Secret::new("the secret key"), NOW)
    }

    #[test]
    fn only_what_the_keys_owner_made_is_valid() {
        let (header, claims) =
            (r#"{"alg":"HS512","typ":"JWT"}"#, r#"{"exp":4961300000,"sub":"AKEY","iss":"prometheus"}"#);
        let good = token(header, claims, "the secret key");
        assert!(valid(&good) && valid(&good.replacen("Bearer", "bearer", 1)));
        for (header, claims, secret) in [
            (header, claims, "another secret"),
            (r#"{"alg":"none"}"#, claims, "the secret key"),
            (r#"{"alg":"HS256","typ":"JWT"}"#, claims, "the secret key"),
            (r#"{"alg":"HS512","crit":["b64"]}"#, claims, "the secret key"),
            (header, r#"{"exp":1800000000,"sub":"AKEY","iss":"prometheus"}"#, "the secret key"),
            (header, r#"{"sub":"AKEY","iss":"prometheus"}"#, "the secret key"),
            (header, r#"{"exp":4961300000,"sub":"BKEY","iss":"prometheus"}"#, "the secret key"),
            (header, r#"{"exp":4961300000,"sub":"AKEY","iss":"minio"}"#, "the secret key"),
            (header, r#"{"exp":4961300000,"nbf":1800000001,"sub":"AKEY","iss":"prometheus"}"#, "the secret key"),
            (header, "[]", "the secret key"),
        ] {
            assert!(!valid(&token(header, claims, secret)), "{header} {claims} {secret}");
        }
        let token = good.strip_prefix("Bearer ").unwrap_or_default();
        let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
        for broken in [
            token.to_owned(),
            format!("Basic {token}"),
            format!("Bearer {signed}"),
            format!("Bearer {signed}."),
            format!("Bearer {signed}.{}", &signature[..signature.len() - 2]),
            format!("Bearer {signed}.{signature}="),
            format!("Bearer {}", "a.".repeat(10_000)),
            String::new(),
        ] {
            assert!(!valid(&broken), "{broken}");
        }
    }
}
