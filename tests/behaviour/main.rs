//! What S3 promises, asked by the AWS SDK for Rust of a whole instance, in process: every test on both databases.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/specs.rs"]
mod specs;

mod fixture;

mod access;
mod appending;
mod archives;
mod attacks;
mod bucket_logs;
mod buckets;
mod check;
mod checksums;
mod copying;
mod cors;
mod faults;
mod healing;
mod life;
mod listing;
mod minio;
mod moving;
mod multipart;
mod objects;
mod oracle;
mod outage;
mod packing;
mod permissions;
mod power;
mod quotas;
mod rebalancing;
mod renaming;
mod snapshots;
mod sweep;
mod tagging;
mod volumes;
mod website;
