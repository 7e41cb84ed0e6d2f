//! How fast work goes that nobody waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes per second that tasks share. Whoever is about to move bytes asks first, and waits until it is their turn.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    next: Mutex<Instant>,
}

impl Pace {
    /// A pace of so many bytes per second; 0: as fast as can be.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may be moved. What was not moved in the past is not made up for.
    pub async fn take(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        sleep_until(self.turn(Instant::now(), bytes)).await;
    }

    /// When those who ask now may begin, after whom the next may.
    fn turn(&self, now: Instant, bytes: u64) -> Instant {
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*next);
        *next = turn + time;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_share_it() {
        let pace = Pace::new(1000);
        let now = Instant::now();
        let turns = [500, 500, 1].map(|bytes| pace.turn(now, bytes) - now);
        assert_eq!(turns, [0, 500, 1000].map(Duration::from_millis));
        // A pause is no debt that others pay off at once.
        let later = now + Duration::from_secs(3600);
        let turns = [1000, 1000].map(|bytes| pace.turn(later, bytes) - later);
        assert_eq!(turns, [0, 1000].map(Duration::from_millis));
    }
}
