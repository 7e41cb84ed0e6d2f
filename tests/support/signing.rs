//! Signature version 4 by hand, so that tests can tamper with every part of it.

use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whose key signs, for what and when.
#[derive(Clone)]
pub struct Signer {
    pub access_key: String,
    pub secret: String,
    pub region: String,
    pub service: String,
    pub time: SystemTime,
}

/// A request to be signed. Headers and query are what the signature covers.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    /// Percent-encoded.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.into(), query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn uri(&self, query: &[(String, String)]) -> String {
        let query = canonical_query(query);
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    fn canonical(&self, query: &[(String, String)], payload: &str) -> (String, String) {
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let signed = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request =
            format!("{}\n{}\n{}\n{lines}\n{signed}\n{payload}", self.method, self.path, canonical_query(query));
        (request, signed)
    }

    fn request(&self, uri: String) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri.parse().unwrap();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_str()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request
    }
}

fn canonical_query(query: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let mut pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.sort();
    pairs.join("&")
}

impl Signer {
    pub fn date(&self) -> String {
        let time = time::OffsetDateTime::from(self.time);
        time.format(time::macros::format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap()
    }

    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.date()[..8], self.region, self.service)
    }

    pub fn sign(&self, string_to_sign: &str) -> String {
        let key = generate_signing_key(&self.secret, self.time, &self.region, &self.service);
        calculate_signature(key, string_to_sign.as_bytes())
    }

    fn sign_request(&self, canonical: &str) -> String {
        self.sign(&format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.date(), self.scope(), sha256(canonical)))
    }

    /// Signs in the header; `payload` becomes `x-amz-content-sha256`, by default the body's hash.
    pub fn header(&self, call: Call, payload: Option<&str>) -> Request<Full<Bytes>> {
        self.header_and_seed(call, payload).0
    }

    fn header_and_seed(&self, call: Call, payload: Option<&str>) -> (Request<Full<Bytes>>, String) {
        let payload = payload.map_or_else(|| sha256(&call.body), str::to_owned);
        let call = call.header("x-amz-date", &self.date()).header("x-amz-content-sha256", &payload);
        let (canonical, signed) = call.canonical(&call.query, &payload);
        let signature = self.sign_request(&canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={signed}, Signature={signature}",
            self.access_key,
            self.scope()
        );
        let mut request = call.request(call.uri(&call.query));
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        (request, signature)
    }

    /// Signs in the query string. `expires` is put there as it is.
    pub fn presign(&self, call: &Call, expires: &str) -> Request<Full<Bytes>> {
        let (_, signed) = call.canonical(&call.query, "");
        let mut query = call.query.clone();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{}", self.access_key, self.scope())),
            ("X-Amz-Date", self.date()),
            ("X-Amz-Expires", expires.to_owned()),
            ("X-Amz-SignedHeaders", signed),
        ] {
            query.push((name.to_owned(), value));
        }
        let (canonical, _) = call.canonical(&query, "UNSIGNED-PAYLOAD");
        query.push(("X-Amz-Signature".into(), self.sign_request(&canonical)));
        call.request(call.uri(&query))
    }

    /// Signs in the header a body of signed aws-chunked pieces, the last of them empty, with trailers if there are any.
    pub fn chunked(&self, call: Call, pieces: &[&[u8]], trailers: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let decoded: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut call = call.header("x-amz-decoded-content-length", &decoded.to_string());
        let mut payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned();
        if !trailers.is_empty() {
            payload += "-TRAILER";
            let names: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
            call = call.header("x-amz-trailer", &names.join(","));
        }
        let (mut request, mut previous) = self.header_and_seed(call, Some(&payload));
        let mut body = Vec::new();
        for piece in pieces.iter().copied().chain([&b""[..]]) {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
                self.date(),
                self.scope(),
                sha256(b""),
                sha256(piece)
            );
            previous = self.sign(&text);
            body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            if !piece.is_empty() {
                body.extend_from_slice(b"\r\n");
            }
        }
        if !trailers.is_empty() {
            let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            let text =
                format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{}", self.date(), self.scope(), sha256(&lines));
            body.extend_from_slice(lines.replace('\n', "\r\n").as_bytes());
            body.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", self.sign(&text)).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        *request.body_mut() = Full::new(body.into());
        request
    }

    /// Signs in the header a body of unsigned aws-chunked pieces. `decoded` is what is announced.
    pub fn chunked_unsigned(
        &self,
        call: Call,
        pieces: &[&[u8]],
        trailers: &[(&str, &str)],
        decoded: usize,
    ) -> Request<Full<Bytes>> {
        let names: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
        let call =
            call.header("x-amz-decoded-content-length", &decoded.to_string()).header("x-amz-trailer", &names.join(","));
        let mut request = self.header(call, Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
        *request.body_mut() = Full::new(unsigned_chunks(pieces, trailers));
        request
    }

    /// The same signer at another time.
    pub fn earlier(&self, by: Duration) -> Self {
        Self { time: self.time - by, ..self.clone() }
    }
}

/// An aws-chunked body without signatures.
pub fn unsigned_chunks(pieces: &[&[u8]], trailers: &[(&str, &str)]) -> Bytes {
    let mut body = Vec::new();
    for piece in pieces {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body.into()
}
