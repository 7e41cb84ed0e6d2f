//! What somebody wants to hear of.

use super::{Event, EventNames};

/// A choice of events. The default wants none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this bucket; `None`: of all.
    pub bucket: Option<String>,
    /// Only of keys that begin so.
    pub prefix: String,
    /// Only of keys that end so.
    pub suffix: String,
    /// Only these.
    pub names: EventNames,
}

impl Filter {
    /// Whether an event is chosen.
    pub fn takes(&self, event: &Event) -> bool {
        self.names.contains(event.name)
            && self.bucket.as_ref().is_none_or(|bucket| *bucket == event.bucket)
            && event.key.starts_with(&self.prefix)
            && event.key.ends_with(&self.suffix)
    }
}
