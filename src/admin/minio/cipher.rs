//! How MinIO's administrative clients encrypt bodies: with a key made of the caller's secret key, so that secrets are not in the clear
//! where there is no TLS.
//!
//! Source: `EncryptData` in madmin-go's `encrypt.go`, and secure-io/sio-go. The text is
//!
//! | bytes | what |
//! |---|---|
//! | 32 | salt |
//! | 1 | 0: Argon2id and AES-256-GCM; 1: Argon2id and ChaCha20-Poly1305; 2: PBKDF2 and AES-256-GCM |
//! | 8 | nonce |
//! | the rest | fragments of 16 KiB, the last may be shorter, each with a tag of 16 bytes |
//!
//! A fragment's nonce is the 8 bytes and its number from 1, little-endian. What is authenticated with it is a byte, 0x80 for the last one
//! and 0 for others, and the tag of an empty text under the number 0.

use std::sync::{Arc, LazyLock};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2;
use tokio::sync::Semaphore;

use crate::access::Secret;
use crate::admin::{Problem, Result};
use crate::clock::random_bytes;

const SALT: usize = 32;
const NONCE: usize = 8;
const TAG: usize = 16;
/// Bytes of a fragment.
const FRAGMENT: usize = 16 << 10;
const LAST: u8 = 0x80;

/// Passes, KiB and lanes of Argon2id.
const ARGON2: (u32, u32, u32) = (1, 64 << 10, 4);
const PBKDF2_ROUNDS: std::num::NonZeroU32 = std::num::NonZeroU32::new(8192).unwrap();

/// Each takes 64 MiB and a core for a while.
static AT_ONCE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// Encrypts a text for whoever has this secret key.
///
/// # Errors
/// [`Problem::Answer`]
pub(super) async fn encrypt(secret: &Secret, text: Vec<u8>) -> Result<Vec<u8>> {
    let secret = secret.clone();
    apart(move || seal(&secret, &text, random_bytes(), random_bytes(), 0))
        .await
        .ok_or(Problem::Answer("it cannot be encrypted"))
}

/// Decrypts what was encrypted with this secret key.
///
/// # Errors
/// 400: it was not.
pub(super) async fn decrypt(secret: &Secret, sealed: Vec<u8>) -> Result<Vec<u8>> {
    let secret = secret.clone();
    let opened = apart(move || open(&secret, &sealed)).await;
    opened.ok_or_else(|| {
        Problem::bad("XMinioAdminConfigBadJSON", "the body is not encrypted with the caller's secret key")
    })
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    let place = Arc::clone(&AT_ONCE).acquire_owned().await.ok()?;
    let worked = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    worked.await.ok()?
}

/// The key for a salt and a kind.
fn key(secret: &Secret, salt: &[u8], kind: u8) -> Option<LessSafeKey> {
    let (mut bytes, secret) = ([0; 32], secret.expose().as_bytes());
    let cipher = match kind {
        0 | 1 => {
            let (passes, memory, lanes) = ARGON2;
            let params = Params::new(memory, passes, lanes, Some(bytes.len())).ok()?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(secret, salt, &mut bytes)
                .ok()?;
            if kind == 0 { &AES_256_GCM } else { &CHACHA20_POLY1305 }
        }
        2 => {
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, PBKDF2_ROUNDS, salt, secret, &mut bytes);
            &AES_256_GCM
        }
        _ => return None,
    };
    Some(LessSafeKey::new(UnboundKey::new(cipher, &bytes).ok()?))
}

/// A fragment's nonce, by its number.
fn nonce(prefix: [u8; NONCE], number: u32) -> Nonce {
    let mut nonce = [0; NONCE + 4];
    nonce[..NONCE].copy_from_slice(&prefix);
    nonce[NONCE..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// What is authenticated with every fragment, but for its first byte.
fn associated(key: &LessSafeKey, prefix: [u8; NONCE]) -> Option<[u8; 1 + TAG]> {
    let tag = key.seal_in_place_separate_tag(nonce(prefix, 0), Aad::empty(), &mut []).ok()?;
    let mut associated = [0; 1 + TAG];
    associated[1..].copy_from_slice(tag.as_ref());
    Some(associated)
}

fn seal(secret: &Secret, text: &[u8], salt: [u8; SALT], prefix: [u8; NONCE], kind: u8) -> Option<Vec<u8>> {
    let key = key(secret, &salt, kind)?;
    let mut with = associated(&key, prefix)?;
    let mut sealed = [&salt[..], &[kind], &prefix].concat();
    let count = text.len().div_ceil(FRAGMENT).max(1);
    for number in 0..count {
        let from = number * FRAGMENT;
        let mut fragment = text.get(from..(from + FRAGMENT).min(text.len()))?.to_vec();
        with[0] = if number + 1 == count { LAST } else { 0 };
        let nonce = nonce(prefix, u32::try_from(number + 1).ok()?);
        key.seal_in_place_append_tag(nonce, Aad::from(with), &mut fragment).ok()?;
        sealed.extend_from_slice(&fragment);
    }
    Some(sealed)
}

fn open(secret: &Secret, sealed: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = sealed.split_first_chunk::<SALT>()?;
    let (&kind, rest) = rest.split_first()?;
    let (&prefix, rest) = rest.split_first_chunk::<NONCE>()?;
    let key = key(secret, salt, kind)?;
    let mut with = associated(&key, prefix)?;
    let mut text = Vec::with_capacity(rest.len());
    let fragments = rest.chunks(FRAGMENT + TAG);
    let count = fragments.len();
    for (number, fragment) in fragments.enumerate() {
        with[0] = if number + 1 == count { LAST } else { 0 };
        let nonce = nonce(prefix, u32::try_from(number + 1).ok()?);
        let mut fragment = fragment.to_vec();
        text.extend_from_slice(key.open_in_place(nonce, Aad::from(with), &mut fragment).ok()?);
    }
    // Without any fragment nothing was authenticated.
    (count > 0).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_sealed_opens_again_whatever_its_length_and_only_whole() {
        let secret = Secret::new("secret key");
        for kind in 0..=2 {
            for len in [0, 1, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT] {
                let text = vec![7; len];
                let sealed = seal(&secret, &text, [1; SALT], [2; NONCE], kind).unwrap();
                assert_eq!(open(&secret, &sealed).unwrap(), text, "{kind} {len}");
            }
        }
        let sealed = seal(&secret, &vec![7; FRAGMENT + 1], [1; SALT], [2; NONCE], 2).unwrap();
        assert!(open(&Secret::new("another"), &sealed).is_none());
        assert!(open(&secret, &sealed[..SALT + 1 + NONCE + FRAGMENT + TAG]).is_none(), "cut at a fragment's end");
        assert!(open(&secret, &sealed[..SALT + 1 + NONCE]).is_none());
        assert!(open(&secret, &sealed[..10]).is_none());
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(open(&secret, &changed).is_none());
    }
}
