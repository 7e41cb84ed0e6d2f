//! A token bucket: so many units at once, and so many a second on average.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::Nanos;

/// Billionths of a unit, which a whole number of comes each nanosecond, so that nothing is ever rounded.
const UNIT: i128 = 1_000_000_000;

/// How fast something may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Units that come each second.
    pub per_second: NonZeroU64,
    /// Units that are there at most, for who has used none for a while.
    pub burst: NonZeroU64,
}

impl Pace {
    /// So many units a second, and no more than those at once.
    pub fn even(per_second: NonZeroU64) -> Self {
        Self { per_second, burst: per_second }
    }

    fn most(self) -> i128 {
        i128::from(self.burst.get()) * UNIT
    }

    /// How long until so many billionths have come.
    fn time_for(self, missing: i128) -> Nanos {
        let per_nanosecond = u128::from(self.per_second.get());
        u128::try_from(missing)
            .map_or(0, |missing| Nanos::try_from(missing.div_ceil(per_nanosecond)).unwrap_or(Nanos::MAX))
    }
}

/// What is left of a [`Pace`]. Less than nothing is a debt, which comes off before anything is there again.
///
/// Times may go back: nothing is gained or lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    left: i128,
    seen: Nanos,
}

impl Allowance {
    /// All of it.
    pub fn full(pace: Pace, now: Nanos) -> Self {
        Self { left: pace.most(), seen: now }
    }

    fn refill(&mut self, pace: Pace, now: Nanos) {
        let elapsed = now.saturating_sub(self.seen);
        self.seen = now;
        let came = i128::from(elapsed).saturating_mul(i128::from(pace.per_second.get()));
        self.left = self.left.saturating_add(came).min(pace.most());
    }

    /// Takes one unit.
    ///
    /// # Errors
    /// There is none; it is after this time.
    pub fn take(&mut self, pace: Pace, now: Nanos) -> Result<(), Duration> {
        self.refill(pace, now);
        if self.left < UNIT {
            return Err(Duration::from_nanos(pace.time_for(UNIT - self.left)));
        }
        self.left -= UNIT;
        Ok(())
    }

    /// Takes so many units, whether they are there or not.
    pub fn spend(&mut self, pace: Pace, now: Nanos, units: u64) {
        self.refill(pace, now);
        self.left = self.left.saturating_sub(i128::from(units) * UNIT);
    }

    /// How long there still is a debt, if there is one.
    pub fn debt(&mut self, pace: Pace, now: Nanos) -> Option<Duration> {
        self.refill(pace, now);
        (self.left < 0).then(|| Duration::from_nanos(pace.time_for(-self.left)))
    }

    /// How long until all of it is there: nothing, if it is as if it had never been used.
    pub fn until_full(&mut self, pace: Pace, now: Nanos) -> Nanos {
        self.refill(pace, now);
        pace.time_for(pace.most() - self.left)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    fn pace(per_second: u64, burst: u64) -> Pace {
        Pace { per_second: NonZeroU64::new(per_second).unwrap(), burst: NonZeroU64::new(burst).unwrap() }
    }

    #[test]
    fn a_burst_passes_and_then_one_after_the_other() {
        let pace = pace(4, 2);
        let mut allowance = Allowance::full(pace, 0);
        assert_eq!(allowance.take(pace, 0), Ok(()));
        assert_eq!(allowance.take(pace, 0), Ok(()));
        assert_eq!(allowance.take(pace, 0), Err(Duration::from_millis(250)));
        assert_eq!(allowance.take(pace, SECOND / 4 - 1), Err(Duration::from_nanos(1)));
        assert_eq!(allowance.take(pace, SECOND / 4), Ok(()));
        assert_eq!(allowance.until_full(pace, SECOND / 4), SECOND / 2);
        assert_eq!(allowance.until_full(pace, SECOND * 9), 0);
    }

    #[test]
    fn a_debt_comes_off_first() {
        let pace = pace(1000, 1000);
        let mut allowance = Allowance::full(pace, 0);
        allowance.spend(pace, 0, 1000);
        assert_eq!(allowance.debt(pace, 0), None, "nothing is left, and nothing is owed");
        allowance.spend(pace, 0, 3000);
        assert_eq!(allowance.debt(pace, SECOND), Some(Duration::from_secs(2)));
        assert_eq!(allowance.debt(pace, 3 * SECOND), None);
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let pace = pace(u64::MAX, u64::MAX);
        let mut allowance = Allowance::full(pace, 0);
        for _ in 0..3 {
            allowance.spend(pace, 0, u64::MAX);
        }
        assert!(allowance.debt(pace, 0).is_some());
        assert_eq!(allowance.until_full(pace, Nanos::MAX), 0);
    }

    proptest! {
        /// Whatever is asked for when: in no span of time does more pass than the burst and what came meanwhile. And who comes back
        /// when he was told to finds something there.
        #[test]
        fn never_more_than_the_rate_passes(
            per_second in 1..5000_u64,
            burst in 1..50_u64,
            steps in prop::collection::vec(0..SECOND, 1..200),
        ) {
            let pace = pace(per_second, burst);
            let mut allowance = Allowance::full(pace, 0);
            let (mut now, mut passed) = (0, Vec::new());
            for step in steps {
                now += step / 100;
                match allowance.take(pace, now) {
                    Ok(()) => passed.push(now),
                    Err(wait) => {
                        let then = now + wait.as_nanos() as Nanos;
                        prop_assert!(allowance.clone().take(pace, then - 1).is_err());
                        prop_assert_eq!(allowance.clone().take(pace, then), Ok(()));
                    }
                }
            }
            for (i, first) in passed.iter().enumerate() {
                for (j, last) in passed.iter().enumerate().skip(i) {
                    let most = u128::from(burst) + u128::from(last - first) * u128::from(per_second) / u128::from(SECOND);
                    prop_assert!((j - i + 1) as u128 <= most + 1, "{} from {first} to {last}", j - i + 1);
                }
            }
            let total = u128::from(burst) + u128::from(now) * u128::from(per_second) / u128::from(SECOND);
            prop_assert!(passed.len() as u128 <= total);
        }

        /// A clock that jumps: what passes is bounded by the time that went forward, and nobody is shut out by a jump back.
        #[test]
        fn a_clock_that_jumps_neither_gives_nor_takes(
            per_second in 1..1000_u64,
            burst in 1..50_u64,
            times in prop::collection::vec(0..10 * SECOND, 1..200),
        ) {
            let pace = pace(per_second, burst);
            let mut allowance = Allowance::full(pace, 0);
            let (mut before, mut forward, mut passed) = (0, 0_u128, 0_u128);
            for now in times {
                forward += u128::from(now.saturating_sub(before));
                before = now;
                passed += u128::from(allowance.take(pace, now).is_ok());
                prop_assert!(passed <= u128::from(burst) + forward * u128::from(per_second) / u128::from(SECOND));
            }
            prop_assert!(allowance.take(pace, before + SECOND.div_ceil(per_second)).is_ok());
        }

        #[test]
        fn debts_are_paid_at_the_rate(per_second in 1..1_000_000_u64, burst in 1..1_000_000_u64, spent in 0..u64::MAX / 2) {
            let pace = pace(per_second, burst);
            let mut allowance = Allowance::full(pace, 0);
            allowance.spend(pace, 0, spent);
            let owed = u128::from(spent.saturating_sub(burst)) * u128::from(SECOND);
            match allowance.debt(pace, 0) {
                None => prop_assert_eq!(owed, 0),
                Some(wait) if wait == Duration::from_nanos(Nanos::MAX) => {}
                Some(wait) => {
                    prop_assert_eq!(wait.as_nanos(), owed.div_ceil(u128::from(per_second)));
                    prop_assert_eq!(allowance.debt(pace, wait.as_nanos() as Nanos), None);
                }
            }
        }
    }
}
