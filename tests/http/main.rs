//! The server over real sockets, with operations that only remember that they were reached.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod admin;
mod answers;
mod audit;
mod bodies;
mod command;
mod cors;
mod forms;
mod frames;
mod guards;
mod http2;
mod limits;
mod minio;
mod recording;
mod serving;
#[path = "../support/signing.rs"]
mod signing;
mod slow;
mod tls;
mod websites;
