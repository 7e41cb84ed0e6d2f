//! How a volume is doing, and the one function that says how that may change.

use std::fmt;
use std::time::Duration;

/// How a volume is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// All is well.
    Healthy,
    /// Errors or slow answers: still in use, but what can be read elsewhere is.
    Degraded,
    /// Nothing is written to it, and nothing read that can be had elsewhere, until a probe brings it back.
    Failed,
    /// Its operator wants it emptied: read from, not written to.
    Draining,
}

impl Status {
    /// Whether new shards may go there.
    pub fn takes_writes(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    pub(super) fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Healthy,
            1 => Self::Degraded,
            3 => Self::Draining,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Draining => "draining",
        })
    }
}

/// What may change a volume's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Some errors in a row, a failed sync, or answers that are slow on average.
    Troubled,
    /// Many errors in a row, or a probe that failed.
    Broken,
    /// A probe found it whole.
    Probed,
    /// It answered without an error for a while, and fast.
    Recovered,
    /// Its operator wants it emptied.
    Drain,
    /// Its operator changed his mind.
    Undrain,
}

/// The status that follows. These are all the legal edges: what is not here changes nothing.
///
/// A failed volume comes back by way of degraded, so that it has to prove itself. That it was draining when it failed is
/// remembered by its member, which drains it again.
pub fn next(status: Status, event: Event) -> Status {
    use Event::{Broken, Drain, Probed, Recovered, Troubled, Undrain};
    use Status::{Degraded, Draining, Failed, Healthy};
    match (status, event) {
        (Healthy, Troubled) => Degraded,
        (Healthy | Degraded | Draining, Broken) => Failed,
        (Degraded, Recovered) => Healthy,
        (Failed, Probed) => Degraded,
        (Healthy | Degraded, Drain) => Draining,
        (Draining, Undrain) => Degraded,
        (unchanged, _) => unchanged,
    }
}

/// Errors in a row that make a volume degraded.
const TROUBLED_AFTER: u32 = 3;
/// Errors in a row that make it failed.
const BROKEN_AFTER: u32 = 10;
/// Successes in a row, and probes count as several, that make a degraded volume healthy.
const RECOVERED_AFTER: u32 = 32;
/// How many successes a probe counts for: it does what several operations do.
const PROBE_COUNTS: u32 = 16;
/// An average read that takes longer makes a volume degraded; to recover it must be twice as fast.
const SLOW: Duration = Duration::from_millis(500);
/// Share of a new read in the average: one in this many.
const AVERAGE_OVER: u32 = 16;

/// What a volume's operations came to lately, and the events in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record {
    errors: u32,
    successes: u32,
    /// Average time of a read; `None` before the first.
    latency: Option<Duration>,
}

impl Record {
    /// All forgotten but the average time of a read.
    pub(super) fn restart(&mut self) {
        *self = Self { latency: self.latency, ..Self::default() };
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    pub(super) fn succeeded(&mut self) -> Option<Event> {
        self.add_successes(1)
    }

    pub(super) fn read(&mut self, took: Duration) -> Option<Event> {
        self.average(took);
        if self.latency > Some(SLOW) {
            self.errors = 0;
            self.successes = 0;
            return Some(Event::Troubled);
        }
        self.add_successes(1)
    }

    /// A probe went well. Where nothing is read, probes are what shows that the volume is fast again.
    pub(super) fn probed(&mut self, took: Duration) -> Option<Event> {
        if self.latency > Some(SLOW / 2) {
            self.average(took);
        }
        self.add_successes(PROBE_COUNTS)
    }

    pub(super) fn failed(&mut self, final_for_the_file: bool) -> Option<Event> {
        self.successes = 0;
        self.errors = self.errors.saturating_add(1);
        if self.errors >= BROKEN_AFTER {
            Some(Event::Broken)
        } else if self.errors >= TROUBLED_AFTER || final_for_the_file {
            Some(Event::Troubled)
        } else {
            None
        }
    }

    fn add_successes(&mut self, count: u32) -> Option<Event> {
        self.errors = 0;
        self.successes = self.successes.saturating_add(count);
        let fast = self.latency.is_none_or(|latency| latency <= SLOW / 2);
        (fast && self.successes >= RECOVERED_AFTER).then_some(Event::Recovered)
    }

    fn average(&mut self, took: Duration) {
        let average = self.latency.map_or(took, |before| (before * (AVERAGE_OVER - 1) + took) / AVERAGE_OVER);
        self.latency = Some(average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_are_all_the_legal_edges() {
        use Event::*;
        use Status::*;
        let events = [Troubled, Broken, Probed, Recovered, Drain, Undrain];
        let table = [
            (Healthy, [Degraded, Failed, Healthy, Healthy, Draining, Healthy]),
            (Degraded, [Degraded, Failed, Degraded, Healthy, Draining, Degraded]),
            (Failed, [Failed, Failed, Degraded, Failed, Failed, Failed]),
            (Draining, [Draining, Failed, Draining, Draining, Draining, Degraded]),
        ];
        for (from, to) in table {
            assert_eq!(Status::from_u8(from as u8), from);
            for (event, to) in events.into_iter().zip(to) {
                assert_eq!(next(from, event), to, "{from} after {event:?}");
            }
        }
    }

    #[test]
    fn only_errors_in_a_row_count() {
        let mut record = Record::default();
        let mut worst = None;
        for _ in 0..100 {
            for _ in 1..TROUBLED_AFTER {
                worst = worst.or(record.failed(false));
            }
            record.succeeded();
        }
        assert_eq!(worst, None);
        let events: Vec<_> = (0..BROKEN_AFTER).map(|_| record.failed(false)).collect();
        assert_eq!(events[1], None);
        assert_eq!(events[2], Some(Event::Troubled));
        assert_eq!(events[8], Some(Event::Troubled));
        assert_eq!(events[9], Some(Event::Broken));
        assert_eq!(Record::default().failed(true), Some(Event::Troubled));
    }

    #[test]
    fn successes_in_a_row_or_two_probes_are_a_recovery() {
        let mut record = Record::default();
        record.failed(true);
        let events: Vec<_> = (0..RECOVERED_AFTER).map(|_| record.succeeded()).collect();
        assert_eq!(events[30], None);
        assert_eq!(events[31], Some(Event::Recovered));
        record.failed(true);
        assert_eq!(record.probed(Duration::ZERO), None);
        assert_eq!(record.probed(Duration::ZERO), Some(Event::Recovered));
    }

    #[test]
    fn slow_reads_are_trouble_until_the_average_is_half() {
        let mut record = Record::default();
        assert_eq!(record.read(Duration::from_millis(10)), None);
        let slow = Duration::from_secs(2);
        let events: Vec<_> = (0..20).map(|_| record.read(slow)).collect();
        assert_eq!(events[0], None);
        assert_eq!(events[19], Some(Event::Troubled));
        let average = record.latency().unwrap_or_default();
        assert!(average > Duration::from_millis(500) && average < slow, "{average:?}");
        let fast = (0..1000).position(|_| record.read(Duration::from_millis(1)) == Some(Event::Recovered));
        assert!(fast.is_some_and(|reads| reads > 30), "{fast:?}");
        assert!(record.latency().unwrap_or_default() <= SLOW / 2);
        // Without reads, probes show it.
        let mut idle = Record { latency: Some(slow), ..Record::default() };
        assert!((0..100).any(|_| idle.probed(Duration::from_millis(1)) == Some(Event::Recovered)));
    }
}
