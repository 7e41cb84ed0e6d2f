//! Tokens of a provider that runs beside: what counts, and what does not.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;

const NOW: Millis = 1_800_000_000_000;
const SECOND: i64 = NOW / 1000;
const CLIENT: &str = "client-1";

/// What a provider answers.
struct Answers {
    /// Keys by name.
    keys: Mutex<Vec<Value>>,
    /// What its configuration says, if it is not to be right.
    discovery: Mutex<Option<String>>,
    status: Mutex<StatusCode>,
    asked: AtomicUsize,
    /// As many requests are answered as it has permits.
    gate: Semaphore,
}

/// A provider at a port of this machine.
struct Fake {
    address: SocketAddr,
    answers: Arc<Answers>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Fake {
    async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Answers {
            keys: Mutex::new(keys.to_vec()),
            discovery: Mutex::default(),
            status: Mutex::new(StatusCode::OK),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let running = tokio::spawn({
            let answers = Arc::clone(&answers);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let answers = Arc::clone(&answers);
                    tokio::spawn(async move {
                        let answer = service_fn(|request: Request<hyper::body::Incoming>| {
                            let answers = Arc::clone(&answers);
                            async move { Ok::<_, Infallible>(answers.answer(address, request.uri().path()).await) }
                        });
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), answer)
                            .await;
                    });
                }
            }
        });
        Self { address, answers, running }
    }

    fn issuer(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    fn config(&self) -> ProviderConfig {
        ProviderConfig {
            config_url: format!("{}/.well-known/openid-configuration", self.issuer()).parse().unwrap(),
            client_ids: vec!["client-0".into(), CLIENT.into()],
            claim: "policy".into(),
            policies: Vec::new(),
            ca: None,
        }
    }

    fn oidc(&self, clock: &Clock) -> Oidc {
        Oidc::new(vec![self.config()], clock.clone()).unwrap()
    }

    fn set_keys(&self, keys: &[Value]) {
        *self.answers.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.to_vec();
    }

    fn set_status(&self, status: StatusCode) {
        *self.answers.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn set_discovery(&self, text: impl Into<String>) {
        *self.answers.discovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
    }

    /// How often its keys were asked for.
    fn asked(&self) -> usize {
        self.answers.asked.load(Ordering::SeqCst)
    }

    fn claims(&self) -> Value {
        json!({"iss": self.issuer(), "sub": "alice", "aud": CLIENT, "exp": SECOND + 600, "iat": SECOND, "policy": "readwrite"})
    }

    /// The claims with others in their place; null takes one away.
    fn with(&self, others: Value) -> Value {
        let mut claims = self.claims();
        for (name, value) in others.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }
}

impl Answers {
    async fn answer(&self, address: SocketAddr, path: &str) -> Response<Full<Bytes>> {
        let _permit = self.gate.acquire().await.unwrap();
        let status = *self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if path == "/keys" {
            self.asked.fetch_add(1, Ordering::SeqCst);
            json!({"keys": *self.keys.lock().unwrap_or_else(PoisonError::into_inner)}).to_string()
        } else {
            let right =
                json!({"issuer": format!("http://{address}/realm"), "jwks_uri": format!("http://{address}/keys")});
            let other = self.discovery.lock().unwrap_or_else(PoisonError::into_inner).clone();
            other.unwrap_or_else(|| right.to_string())
        };
        let location = format!("http://{address}/keys");
        let answer = Response::builder().status(status).header("location", location);
        answer.body(Full::from(text)).unwrap()
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What signs tokens.
enum Signing {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signing {
    fn rsa() -> Self {
        let key = include_bytes!("../../tests/fixtures/rsa_2048.pk8");
        Self::Rsa(RsaKeyPair::from_pkcs8(key).unwrap())
    }

    fn p256() -> Self {
        Self::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    fn ec(how: &'static signature::EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(how, key.as_ref(), &random).unwrap(), curve)
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// As a provider publishes it.
    fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let parts = signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": encode(parts.n), "e": encode(parts.e)})
            }
            Self::Ec(key, curve) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": id, "x": encode(x), "y": encode(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(key.public_key())}),
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let how: &'static dyn signature::RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(how, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key, _) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, algorithm: &str, id: &str, claims: &Value) -> String {
        self.token_with(algorithm, &json!({"alg": algorithm, "kid": id, "typ": "JWT"}).to_string(), &claims.to_string())
    }

    fn token_with(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(algorithm, message.as_bytes()));
        format!("{message}.{signature}")
    }
}

#[tokio::test]
async fn whoever_a_provider_signed_for_is_let_in() {
    let (rsa, p256, ed) = (Signing::rsa(), Signing::p256(), Signing::ed());
    let p384 = Signing::ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384");
    let fake = Fake::start(&[rsa.public("r"), p256.public("p"), p384.public("q"), ed.public("e")]).await;
    let oidc = fake.oidc(&Clock::fixed(NOW));
    for (signing, id, algorithms) in [
        (&rsa, "r", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&p256, "p", &["ES256"]),
        (&p384, "q", &["ES384"]),
        (&ed, "e", &["EdDSA"]),
    ] {
        for algorithm in algorithms {
            let who = oidc.verify(&signing.token(algorithm, id, &fake.claims())).await.unwrap();
            assert_eq!((&*who.subject, &*who.audience, who.ends), ("alice", CLIENT, NOW + 600_000), "{algorithm}");
            assert_eq!((who.issuer, who.policies), (fake.issuer(), vec!["readwrite".to_owned()]));
            assert_eq!(who.provider, format!("{}/realm", fake.address));
        }
    }
    assert_eq!(fake.asked(), 1);
    // One key for an algorithm needs no name.
    let unnamed = ed.token_with("EdDSA", r#"{"alg":"EdDSA"}"#, &fake.claims().to_string());
    oidc.verify(&unnamed).await.unwrap();
}

#[tokio::test]
async fn what_is_not_so_is_refused() {
    let (rsa, other, p256) = (Signing::rsa(), Signing::p256(), Signing::p256());
    let fake = Fake::start(&[rsa.public("r"), p256.public("p")]).await;
    let oidc = fake.oidc(&Clock::fixed(NOW));
    let claim = |name| Err(TokenError::Claim(name));
    for (others, expected) in [
        (json!({}), Ok(())),
        (json!({"aud": ["x", CLIENT]}), Ok(())),
        (json!({"aud": ["x", "y"], "azp": CLIENT}), Ok(())),
        (json!({"exp": SECOND - 59}), Ok(())),
        (json!({"exp": SECOND as f64 + 0.5}), Ok(())),
        (json!({"iat": SECOND + 59, "nbf": SECOND + 59}), Ok(())),
        (json!({"iat": null, "nbf": null}), Ok(())),
        (json!({"aud": "x"}), Err(TokenError::Audience)),
        (json!({"aud": []}), Err(TokenError::Audience)),
        (json!({"aud": ["x"], "azp": "client"}), Err(TokenError::Audience)),
        (json!({"aud": null}), claim("aud")),
        (json!({"aud": [CLIENT, 1]}), claim("aud")),
        (json!({"aud": {"a": CLIENT}}), claim("aud")),
        (json!({"exp": SECOND - 60}), Err(TokenError::Expired)),
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": (SECOND + 600).to_string()}), claim("exp")),
        (json!({"exp": [SECOND + 600]}), claim("exp")),
        (json!({"exp": 1e300}), claim("exp")),
        (json!({"nbf": SECOND + 61}), Err(TokenError::Early)),
        (json!({"nbf": "never"}), claim("nbf")),
        (json!({"iat": SECOND + 61}), Err(TokenError::Early)),
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": ""}), claim("sub")),
        (json!({"sub": "x".repeat(256)}), claim("sub")),
        (json!({"iss": null}), claim("iss")),
        (json!({"iss": fake.issuer() + "/"}), Err(TokenError::Provider(fake.issuer() + "/"))),
        (json!({"iss": "https://elsewhere"}), Err(TokenError::Provider("https://elsewhere".into()))),
        (json!({"name": "x".repeat(5000)}), Err(TokenError::TooMuch(4096))),
        (json!({"of no interest": "x".repeat(5000)}), Ok(())),
    ] {
        let token = rsa.token("RS256", "r", &fake.with(others.clone()));
        assert_eq!(oidc.verify(&token).await.map(|_| ()), expected, "{others}");
    }

    let claims = fake.claims();
    let text = claims.to_string();
    let good = rsa.token("RS256", "r", &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mallory = fake.with(json!({"sub": "mallory"})).to_string();
    let malformed = |what| TokenError::Malformed(what);
    let parts = malformed("it has not three parts in Base64url");
    let hmac = |secret: &[u8]| {
        let message = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"r"}"#), encode(&text));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", encode(ring::hmac::sign(&key, message.as_bytes())))
    };
    let rsa_key = rsa.public("r");
    for (token, expected) in [
        (format!("{header}.{}.{signature}", encode(mallory)), TokenError::Signature),
        (format!("{message}.{}", encode([0; 256])), TokenError::Signature),
        (format!("{message}."), TokenError::Signature),
        (other.token("ES256", "p", &claims), TokenError::Signature),
        (rsa.token_with("RS256", r#"{"alg":"RS384","kid":"r"}"#, &text), TokenError::Signature),
        // Public keys are no secrets.
        (hmac(rsa_key["n"].as_str().unwrap().as_bytes()), TokenError::Algorithm),
        (hmac(rsa_key.to_string().as_bytes()), TokenError::Algorithm),
        (format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&text)), TokenError::Algorithm),
        (format!("{}.{}.", encode(r#"{"alg":"None","kid":"r"}"#), encode(&text)), TokenError::Algorithm),
        (rsa.token_with("RS256", r#"{"alg":"ES256","kid":"r"}"#, &text), TokenError::Algorithm),
        (rsa.token("RS256", "p", &claims), TokenError::Algorithm),
        (rsa.token("RS256", "nobody's", &claims), TokenError::Key),
        (
            rsa.token_with("RS256", r#"{"alg":"RS256","kid":"r","crit":["exp"],"exp":1}"#, &text),
            malformed("its header has extensions"),
        ),
        (rsa.token_with("RS256", r#"{"alg":"RS256","alg":"none"}"#, &text), malformed("its header cannot be read")),
        (rsa.token_with("RS256", r#"{"kid":"r"}"#, &text), malformed("its header cannot be read")),
        (rsa.token_with("RS256", r#"{"alg":"RS256","kid":"r"}"#, "[]"), malformed("its claims cannot be read")),
        (format!("{good}=="), parts.clone()),
        (format!("{good}.x"), parts.clone()),
        (message.to_owned(), parts.clone()),
        (String::new(), parts.clone()),
        ("a.b.c".to_owned(), parts),
        ("x".repeat(20_001), malformed("it is too long")),
    ] {
        assert_eq!(oidc.verify(&token).await.unwrap_err(), expected, "{token}");
    }
}

#[tokio::test]
async fn keys_come_and_go() {
    let (first, second) = (Signing::p256(), Signing::p256());
    let fake = Fake::start(&[first.public("1")]).await;
    let clock = Clock::fixed(NOW);
    let oidc = fake.oidc(&clock);
    let token = |signing: &Signing, id| signing.token("ES256", id, &fake.with(json!({"exp": SECOND + 1_000_000})));
    oidc.verify(&token(&first, "1")).await.unwrap();
    fake.set_keys(&[second.public("2")]);
    // Nobody who makes up names has a provider asked again and again.
    for _ in 0..3 {
        assert_eq!(oidc.verify(&token(&second, "2")).await, Err(TokenError::Key));
    }
    assert_eq!(fake.asked(), 1);
    clock.advance(Duration::from_secs(10));
    oidc.verify(&token(&second, "2")).await.unwrap();
    assert_eq!(oidc.verify(&token(&first, "1")).await, Err(TokenError::Key));
    assert_eq!(fake.asked(), 2);

    // While it is away its keys are believed, and for so long.
    fake.set_status(StatusCode::SERVICE_UNAVAILABLE);
    clock.advance(Duration::from_secs(60));
    oidc.verify(&token(&second, "2")).await.unwrap();
    assert_eq!(oidc.verify(&token(&first, "1")).await, Err(TokenError::Unreachable));
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(oidc.verify(&token(&second, "2")).await, Err(TokenError::Unreachable));
    fake.set_status(StatusCode::OK);
    clock.advance(Duration::from_secs(10));
    oidc.verify(&token(&second, "2")).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_answers_something_else_has_no_keys() {
    let signing = Signing::p256();
    let fake = Fake::start(&[signing.public("1")]).await;
    let token = signing.token("ES256", "1", &fake.claims());
    let (issuer, keys) = (fake.issuer(), format!("http://{}/keys", fake.address));
    for answer in [
        String::new(),
        "[]".to_owned(),
        json!({"issuer": issuer}).to_string(),
        json!({"issuer": "https://elsewhere", "jwks_uri": keys}).to_string(),
        json!({"issuer": issuer, "jwks_uri": "http://elsewhere.example.com/keys"}).to_string(),
        json!({"issuer": issuer, "jwks_uri": "file:///keys"}).to_string(),
        json!({"issuer": issuer, "jwks_uri": fake.issuer()}).to_string(),
        json!({"issuer": issuer, "jwks_uri": keys, "more": "x".repeat(300 << 10)}).to_string(),
    ] {
        fake.set_discovery(&*answer);
        let oidc = fake.oidc(&Clock::fixed(NOW));
        assert_eq!(oidc.verify(&token).await, Err(TokenError::Unreachable), "{answer:.100}");
    }
    fake.set_discovery(json!({"issuer": issuer, "jwks_uri": keys}).to_string());
    fake.oidc(&Clock::fixed(NOW)).verify(&token).await.unwrap();
    // Where it sends to nobody goes.
    fake.set_status(StatusCode::FOUND);
    assert_eq!(fake.oidc(&Clock::fixed(NOW)).verify(&token).await, Err(TokenError::Unreachable));
}

#[tokio::test]
async fn nobody_waits_for_a_slow_provider_whose_key_is_known() {
    let signing = Signing::p256();
    let fake = Fake::start(&[signing.public("1")]).await;
    let clock = Clock::fixed(NOW);
    let oidc = fake.oidc(&clock);
    let token = |id| signing.token("ES256", id, &fake.claims());
    oidc.verify(&token("1")).await.unwrap();
    clock.advance(Duration::from_secs(10));
    fake.answers.gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (oidc, token) = (oidc.clone(), token("unknown"));
        waiting.spawn(async move { oidc.verify(&token).await });
    }
    // All but the few that may wait are told so at once.
    for _ in 0..24 {
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), Err(TokenError::Key));
    }
    oidc.verify(&token("1")).await.unwrap();
    fake.answers.gate.add_permits(100);
    while let Some(outcome) = waiting.join_next().await {
        assert_eq!(outcome.unwrap(), Err(TokenError::Key));
    }
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn keys_are_read_before_anybody_needs_them() {
    let signing = Signing::p256();
    let fake = Fake::start(&[signing.public("1")]).await;
    let oidc = fake.oidc(&Clock::fixed(NOW));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn({
        let oidc = oidc.clone();
        async move { oidc.run(stopped).await }
    });
    while oidc.providers[0].known().is_none() {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    running.await.unwrap();
    oidc.verify(&signing.token("ES256", "1", &fake.claims())).await.unwrap();
}

#[test]
fn claims_are_names_of_policies_and_condition_keys() {
    let names = |claim: Value| Claims::of(json!({"p": claim})).names("p");
    assert_eq!(names(json!("a, b,,c")), ["a", "b", "c"]);
    assert_eq!(names(json!(["a,b", "c", 1])), ["a", "b", "c"]);
    assert_eq!(names(json!({"a": "b"})), Vec::<String>::new());
    let values = |claim: Value| Claims::of(json!({"c": claim})).values("c");
    assert_eq!(values(json!(["a", 1, true, {}, null])), ["a", "1", "true"]);
    let identity = WebIdentity {
        provider: "idp.example.com/Realm".into(),
        issuer: String::new(),
        subject: String::new(),
        audience: String::new(),
        ends: 0,
        policies: Vec::new(),
        claims: [("sub".to_owned(), vec!["alice".to_owned()])].into(),
    };
    let federation = identity.federation("111122223333");
    assert_eq!(federation.provider, "arn:aws:iam::111122223333:oidc-provider/idp.example.com/Realm");
    for key in ["jwt:sub", "idp.example.com/realm:sub"] {
        assert_eq!(federation.values(key).unwrap(), ["alice"]);
    }
    for key in ["jwt:email", "other:sub", "sub", "realm:sub"] {
        assert_eq!(federation.values(key), None, "{key}");
    }
}

#[tokio::test]
async fn two_providers_are_two() {
    let signing = Signing::p256();
    let (one, other) = (Fake::start(&[signing.public("1")]).await, Fake::start(&[Signing::p256().public("1")]).await);
    let everybody = ProviderConfig { policies: vec!["readonly".into()], ..one.config() };
    let oidc = Oidc::new(vec![other.config(), everybody.clone()], Clock::fixed(NOW)).unwrap();
    let who = oidc.verify(&signing.token("ES256", "1", &one.claims())).await.unwrap();
    assert_eq!(who.policies, ["readonly"]);
    let claims = one.with(json!({"iss": other.issuer()}));
    assert_eq!(oidc.verify(&signing.token("ES256", "1", &claims)).await, Err(TokenError::Signature));
    let twice = Oidc::new(vec![one.config(), everybody], Clock::fixed(NOW)).unwrap_err();
    assert!(matches!(twice, ProviderError::Twice(_)));
    let none = Oidc::default().verify(&signing.token("ES256", "1", &one.claims())).await;
    assert_eq!(none, Err(TokenError::Provider(one.issuer())));
}
