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
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = Instant::now().max(*next);
            *next = turn + time;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_share_it() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        let (first, second) = (pace.take(500), pace.take(500));
        tokio::join!(first, second);
        pace.take(1).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        Pace::new(0).take(u64::MAX).await;
        // A pause is no debt that others pay off at once.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        pace.take(1000).await;
        pace.take(1000).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
