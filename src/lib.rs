//! Ninefold: an S3-compatible object store. Metadata in PostgreSQL or SQLite, bytes Reed-Solomon 6+3 coded over nine volumes.
//!
//! The way of a request, each layer knowing only the one below:
//!
//! ```text
//! server ─ s3 ─ access ─ objects ─┬─ metadata   (SQL: what exists)
//!                                 └─ chunks ─ volumes   (bytes: encode, place, verify; files)
//! ```
//!
//! `layout` holds the words that `metadata` and `chunks` share, `clock` the one source of time and randomness.
//! `limits` says how much of the server anybody may use.
//! `audit` has every request written down for those who must know who did what.
//! `events` has what happened told to whoever listens. `oidc` asks identity providers, by `http_client`, who somebody is.
//! `vitals` tells the server's health and metrics how the store is.
//! `maintenance` works beside the way, through `metadata` and `chunks` as the request path does; so does `snapshots`, which keeps the
//! metadata on the volumes as well and brings them back from there.

pub mod access;
pub mod admin;
pub mod audit;
pub mod bucket_logs;
pub mod chunks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod events;
pub mod http_client;
pub mod instance;
pub mod layout;
pub mod limits;
pub mod maintenance;
pub mod metadata;
pub mod objects;
pub mod oidc;
pub mod s3;
pub mod select;
pub mod server;
pub mod snapshots;
pub mod telemetry;
pub mod vitals;
pub mod volumes;
