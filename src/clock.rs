//! Time and randomness, behind one seam, so that tests of expiry need not sleep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// Where the present comes from. Clones share it.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `now` until it is moved: for tests.
    pub fn fixed(now: Millis) -> Self {
        Self(Some(Arc::new(AtomicI64::new(now))))
    }

    /// The present.
    pub fn now(&self) -> Millis {
        match &self.0 {
            Some(now) => now.load(Ordering::SeqCst),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis),
        }
    }

    /// Moves a fixed clock; the system's clock does not move for us.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            now.fetch_add(by.as_millis() as Millis, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Nanoseconds since a [`Stopwatch`] began.
pub type Nanos = u64;

/// Time that only goes on, whatever is done to the system's clock. Clones share it.
#[derive(Debug, Clone)]
pub struct Stopwatch(Source);

#[derive(Debug, Clone)]
enum Source {
    System(Instant),
    Fixed(Arc<AtomicU64>),
}

impl Stopwatch {
    /// One that begins now.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// One that stands still until it is moved: for tests.
    pub fn fixed() -> Self {
        Self(Source::Fixed(Arc::default()))
    }

    /// How long it runs.
    pub fn now(&self) -> Nanos {
        match &self.0 {
            Source::System(began) => Nanos::try_from(began.elapsed().as_nanos()).unwrap_or(Nanos::MAX),
            Source::Fixed(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Moves one that stands still; the system's does not move for us.
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(now) = &self.0 {
            now.fetch_add(Nanos::try_from(by.as_nanos()).unwrap_or(Nanos::MAX), Ordering::SeqCst);
        }
    }
}

/// `N` bytes from the operating system's random source.
///
/// # Panics
/// If the operating system has no random source, without which no id or credential can be made.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "there is no way to go on without randomness, and no request can cause it")]
    getrandom::fill(&mut bytes).expect("the operating system's random source");
    bytes
}
