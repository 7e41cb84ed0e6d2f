//! From those who do things to those who listen, within one server.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Event, EventName, EventNames, Filter};

/// Listeners at a time: each holds a connection, too.
const LISTENERS: usize = 512;
/// Events that wait for a listener who is slow; further ones are lost to him.
const QUEUE: usize = 1024;

/// The way from those who do things to those who listen. Cheap to clone; clones are the same. While nobody listens it costs a look at one
/// number, and it never makes anybody wait.
#[derive(Debug, Clone, Default)]
pub struct Bus(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    listeners: Mutex<Listeners>,
    /// What anybody wants.
    wanted: AtomicU32,
    sequence: AtomicU64,
}

#[derive(Debug, Default)]
struct Listeners {
    closed: bool,
    next: u64,
    all: Vec<Ear>,
}

/// A listener as the bus knows it.
#[derive(Debug)]
struct Ear {
    number: u64,
    filter: Filter,
    events: mpsc::Sender<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

/// One who listens, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    bus: Bus,
    number: u64,
    events: mpsc::Receiver<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

impl Bus {
    /// Whether anybody wants to hear of this.
    pub fn wants(&self, name: EventName) -> bool {
        EventNames::of_bits(self.0.wanted.load(Ordering::Relaxed)).contains(name)
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed) != 0
    }

    /// Tells those who want to hear of it. Whoever has too many waiting misses it.
    pub fn publish(&self, mut event: Event) {
        // Larger than all before, and than those of an earlier start of this server.
        let at = u64::try_from(event.at).unwrap_or_default() << 16;
        let next = |last: u64| Some(at.max(last.saturating_add(1)));
        let last = self.0.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        event.sequence = at.max(last.saturating_add(1));
        let event = Arc::new(event);
        for ear in &self.listeners().all {
            if ear.filter.takes(&event)
                && let Err(TrySendError::Full(_)) = ear.events.try_send(Arc::clone(&event))
            {
                ear.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to listen. `None` if too many do, or the server stops.
    pub fn listen(&self, filter: Filter) -> Option<Listener> {
        let mut listeners = self.listeners();
        if listeners.closed || listeners.all.len() >= LISTENERS {
            return None;
        }
        let (sender, events) = mpsc::channel(QUEUE);
        let number = listeners.next;
        listeners.next += 1;
        let lost = Arc::new(AtomicU64::new(0));
        listeners.all.push(Ear { number, filter, events: sender, lost: Arc::clone(&lost) });
        self.count(&listeners);
        Some(Listener { bus: self.clone(), number, events, lost })
    }

    /// Ends all who listen, and lets nobody begin: else a server that stops would wait for them.
    pub fn close(&self) {
        let mut listeners = self.listeners();
        listeners.closed = true;
        listeners.all.clear();
        self.count(&listeners);
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, listeners: &Listeners) {
        let wanted = listeners.all.iter().fold(EventNames::default(), |all, ear| all.and(ear.filter.names));
        self.0.wanted.store(wanted.bits(), Ordering::Relaxed);
    }
}

impl Listener {
    /// The next event; `None` once the server stops.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        let event = self.events.recv().await;
        self.confess();
        event
    }

    /// Says what was lost.
    fn confess(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(events = lost, "somebody who listens to events was too slow: these are lost to him");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.bus.listeners();
        listeners.all.retain(|ear| ear.number != self.number);
        self.bus.count(&listeners);
        drop(listeners);
        self.confess();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(name: EventName, bucket: &str, key: &str) -> Event {
        Event {
            name,
            at: 5,
            bucket: bucket.into(),
            key: key.into(),
            size: None,
            etag: None,
            version: None,
            sequence: 0,
            origin: Arc::default(),
        }
    }

    #[tokio::test]
    async fn everybody_hears_what_he_wants_and_in_order() {
        let bus = Bus::default();
        assert!(!bus.is_heard());
        let names = EventNames::parse("s3:ObjectCreated:*").unwrap();
        let filter = Filter { bucket: Some("b".into()), prefix: "p/".into(), suffix: ".txt".into(), names };
        let mut one = bus.listen(filter).unwrap();
        let mut all = bus.listen(Filter { names, ..Filter::default() }).unwrap();
        assert!(bus.wants(EventName::CreatedPut) && !bus.wants(EventName::RemovedDelete));
        for (bucket, key) in [("b", "p/1.txt"), ("b", "p/2"), ("b", "3.txt"), ("c", "p/4.txt"), ("b", "p/5.txt")] {
            bus.publish(event(EventName::CreatedPut, bucket, key));
            bus.publish(event(EventName::RemovedDelete, bucket, key));
        }
        let mut last = 0;
        for key in ["p/1.txt", "p/2", "3.txt", "p/4.txt", "p/5.txt"] {
            let event = all.next().await.unwrap();
            assert_eq!(event.key, key);
            assert!(event.sequence > last);
            last = event.sequence;
        }
        assert_eq!(one.next().await.unwrap().key, "p/1.txt");
        assert_eq!(one.next().await.unwrap().key, "p/5.txt");
        drop(all);
        drop(one);
        assert!(!bus.is_heard());
    }

    #[tokio::test]
    async fn who_is_slow_loses_and_holds_up_nobody() {
        let bus = Bus::default();
        let names = EventNames::parse("s3:ObjectCreated:*").unwrap();
        let mut slow = bus.listen(Filter { names, ..Filter::default() }).unwrap();
        for n in 0..QUEUE + 10 {
            bus.publish(event(EventName::CreatedPut, "b", &n.to_string()));
        }
        assert_eq!(slow.lost.load(Ordering::Relaxed), 10);
        for n in 0..QUEUE {
            assert_eq!(slow.next().await.unwrap().key, n.to_string());
        }
        bus.close();
        assert_eq!(slow.next().await, None);
        assert!(bus.listen(Filter::default()).is_none());
    }
}
