//! What happens in buckets, told to whoever listens: the events, which of them somebody wants, and how they get to him.
//!
//! Nothing is kept: an event that nobody hears is none. Who listens hears the server that he is connected to.

mod bus;
mod filter;
mod name;
mod record;

use std::sync::Arc;

use crate::clock::Millis;

pub use bus::{Bus, Listener};
pub use filter::Filter;
pub use name::{EventName, EventNames, NameError};
pub use record::message;

/// Who asked for what happened, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Canonical id of who asked.
    pub principal: String,
    /// The address that he asked from.
    pub address: String,
    /// The request's id.
    pub request_id: String,
    /// `User-Agent`
    pub agent: String,
    /// Whether it was a form's upload.
    pub form: bool,
}

/// Something that happened, and is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub name: EventName,
    /// When.
    pub at: Millis,
    /// The bucket.
    pub bucket: String,
    /// The key; empty if it is about the bucket itself.
    pub key: String,
    /// The object's length in bytes, if it has one that is known.
    pub size: Option<u64>,
    /// Its ETag, without quotes, if that is known.
    pub etag: Option<String>,
    /// The version, if the bucket keeps any.
    pub version: Option<String>,
    /// Grows from event to event of one server.
    pub sequence: u64,
    /// Who asked.
    pub origin: Arc<Origin>,
}
