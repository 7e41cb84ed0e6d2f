//! Telling those who listen what was committed.

use std::sync::Arc;

use super::Store;
use crate::events::{Bus, Event, EventName, Origin};
use crate::metadata::VersionId;

/// Something that somebody wants to hear of, once it has happened.
#[must_use]
pub(super) struct Telling {
    name: EventName,
    bucket: String,
    key: String,
}

/// What an object is by then, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    pub(super) size: Option<u64>,
    pub(super) etag: Option<&'a str>,
    pub(super) version: Option<&'a VersionId>,
}

impl Store {
    /// Where those are who listen.
    pub fn events(&self) -> &Bus {
        &self.events
    }

    /// The same store, for what is done for somebody. Whoever listens hears who that is.
    #[must_use]
    pub fn on_behalf_of(&self, origin: Origin) -> Self {
        Self { origin: Arc::new(origin), ..self.clone() }
    }

    /// Looks whether anybody wants to hear of this, before names are given away.
    pub(super) fn telling(&self, name: EventName, bucket: &str, key: &str) -> Option<Telling> {
        let wanted = self.events.wants(name);
        wanted.then(|| Telling { name, bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Says it, after it was committed.
    pub(super) fn tell(&self, telling: Option<Telling>, facts: Facts<'_>) {
        let Some(Telling { name, bucket, key }) = telling else { return };
        self.events.publish(Event {
            name,
            at: self.clock.now(),
            bucket,
            key,
            size: facts.size,
            etag: facts.etag.map(str::to_owned),
            version: facts.version.map(|version| version.as_str().to_owned()),
            sequence: 0,
            origin: Arc::clone(&self.origin),
        });
    }

    /// Says that an object was read, if anybody wants to hear of it.
    pub fn tell_of_read(&self, name: EventName, bucket: &str, key: &str, size: u64, version: Option<&VersionId>) {
        let telling = self.telling(name, bucket, key);
        self.tell(telling, Facts { size: Some(size), version, ..Facts::default() });
    }
}
