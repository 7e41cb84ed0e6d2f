//! Signed requests of the root user to a real server.

#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::server::Server;
use super::signing::{Call, Signer};

/// Signs as the root user of a [`Server`], now.
pub fn root() -> Signer {
    Signer {
        access_key: Server::ACCESS_KEY.into(),
        secret: Server::SECRET_KEY.into(),
        region: "us-east-1".into(),
        service: "s3".into(),
        time: SystemTime::now(),
    }
}

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), address }
    }

    /// The whole answer; `None` if it did not come.
    pub async fn send(&self, call: Call) -> Option<(StatusCode, HeaderMap, Bytes)> {
        self.send_as(&root(), call).await
    }

    /// The same to somebody.
    pub async fn send_as(&self, who: &Signer, call: Call) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let host = self.address.to_string();
        let (len, sends) = (call.body.len(), call.method == Method::PUT || call.method == Method::POST);
        let mut request = who.header(call.header("host", &host), None);
        if sends {
            // The client leaves it out where there is nothing to send, and S3 wants it of every upload.
            request.headers_mut().insert(http::header::CONTENT_LENGTH, len.into());
        }
        *request.uri_mut() = format!("http://{host}{}", request.uri()).parse().unwrap();
        let answer = self.http.request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        Some((head.status, head.headers, body.collect().await.ok()?.to_bytes()))
    }
}

/// What a server that must answer says to one request.
pub async fn send(server: &Server, call: Call) -> (StatusCode, HeaderMap, Bytes) {
    Client::new(server.address()).send(call).await.unwrap()
}

/// Puts an object into the bucket `demo`.
pub async fn put(server: &Server, key: &str, body: Bytes) {
    let (status, _, answer) = send(server, Call::new(Method::PUT, &format!("/demo/{key}")).body(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
}

/// Gets an object of the bucket `demo`, or why not.
pub async fn get(server: &Server, key: &str) -> (StatusCode, Bytes) {
    let (status, _, body) = send(server, Call::new(Method::GET, &format!("/demo/{key}"))).await;
    (status, body)
}

/// Bytes that differ along the object and between objects.
pub fn content(seed: u32, len: usize) -> Bytes {
    (0..len as u32).flat_map(|n| (n ^ seed.wrapping_mul(0x9e37_79b9)).to_le_bytes()).take(len).collect()
}
