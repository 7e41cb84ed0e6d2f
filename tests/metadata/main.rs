//! What `metadata` promises, kept by both databases: every test runs on PostgreSQL and on SQLite, but for those that are
//! about one of them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/postgres.rs"]
mod postgres;

mod fixture;
mod locks;

mod access;
mod ambiguous;
mod buckets;
mod changes;
mod check;
mod directory;
mod dump;
mod identities;
mod instances;
mod life;
mod listing;
mod many;
mod objects;
mod packed;
mod quotas;
mod races;
mod ranges;
mod reclaim;
mod uploads;
mod versions;
