//! The reads that are under way, so that no file goes from under one (rule 16).
//!
//! Whoever reads begins a [`Hold`] before it asks the database where the bytes are. The instance publishes the beginning of its oldest
//! hold with every heartbeat, by the database's clock, and the files of a chunk stay until all published beginnings are later
//! than the chunk's death. A read that lasts longer than the limit is no longer waited for: it asks before each further stripe
//! whether the chunk still lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Millis;

/// A read over its limit is waited for so much longer: for the stripe that it may have begun just before.
const LAST_STRIPE: Duration = Duration::from_secs(120);

/// The running reads of this process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Reads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the database's clock showed, and a moment after it did.
    clock: Option<(Millis, Instant)>,
    running: BTreeMap<(Millis, u64), Instant>,
    begun: u64,
}

impl State {
    /// A time that the database's clock had passed at `moment`.
    fn at(&self, moment: Instant) -> Millis {
        let Some((shown, seen)) = self.clock else { return 0 };
        let since = moment.saturating_duration_since(seen).as_millis() as i64;
        let before = seen.saturating_duration_since(moment).as_millis() as i64;
        // Rounded so that it is never later than it was.
        shown + since - before - i64::from(before > 0)
    }
}

impl Reads {
    /// No reads yet; each is waited for until it has lasted for `limit`.
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(Shared { limit, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database's clock showed `now` at some moment before `seen`.
    pub fn set_clock(&self, now: Millis, seen: Instant) {
        self.state().clock = Some((now, seen));
    }

    /// Begins a read: to be called before the database is asked where the bytes are.
    pub fn begin(&self) -> Hold {
        let mut state = self.state();
        let begun = Instant::now();
        state.begun += 1;
        let entry = (state.at(begun), state.begun);
        state.running.insert(entry, begun);
        drop(state);
        Hold(Arc::new(Running { reads: self.clone(), entry, begun }))
    }

    /// Every read that runs, or will begin, began at or after this time of the database's clock; those over the limit aside.
    pub fn since(&self) -> Millis {
        let state = self.state();
        let waited_for = self.0.limit + LAST_STRIPE;
        let oldest = state.running.iter().find(|(_, begun)| begun.elapsed() <= waited_for);
        oldest.map_or_else(|| state.at(Instant::now()), |((since, _), _)| *since)
    }
}

/// A running read. It ends when the last clone of this is dropped.
#[derive(Debug, Clone)]
pub struct Hold(Arc<Running>);

#[derive(Debug)]
struct Running {
    reads: Reads,
    entry: (Millis, u64),
    begun: Instant,
}

impl Hold {
    /// Whether it has lasted so long that nobody waits for it any more.
    pub fn over(&self) -> bool {
        self.0.begun.elapsed() > self.0.reads.0.limit
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reads.state().running.remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_read_is_what_counts_until_it_ends() {
        let reads = Reads::new(Duration::from_secs(3600));
        let seen = Instant::now();
        reads.set_clock(1000, seen);
        let first = reads.begin();
        reads.set_clock(500_000, Instant::now());
        let second = reads.begin();
        assert_eq!(reads.since(), first.0.entry.0);
        assert!((1000..500_000).contains(&first.0.entry.0));
        drop(first);
        assert_eq!(reads.since(), second.0.entry.0);
        drop(second);
        assert!(reads.since() >= 500_000);
    }

    #[test]
    fn before_a_clock_was_seen_nothing_is_promised() {
        let reads = Reads::new(Duration::from_secs(3600));
        let early = reads.begin();
        reads.set_clock(1000, Instant::now());
        assert_eq!(reads.since(), 0);
        drop(early);
        assert!(reads.since() >= 1000);
    }

    #[test]
    fn a_moment_before_the_clock_was_seen_is_not_dated_too_late() {
        let moment = Instant::now();
        let clock = Some((1000, moment + Duration::from_micros(1500)));
        let state = State { clock, ..State::default() };
        assert_eq!(state.at(moment), 998);
        assert_eq!(state.at(moment + Duration::from_micros(2500)), 1001);
    }

    #[test]
    fn a_read_over_its_limit_knows_it() {
        let reads = Reads::new(Duration::ZERO);
        let hold = reads.begin();
        std::thread::sleep(Duration::from_millis(1));
        assert!(hold.over());
    }
}
