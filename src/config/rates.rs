//! Rates as people write them: `key:requests=500,burst=1000,out=50MiB`.

use std::num::NonZeroU64;
use std::str::FromStr;

use serde::Deserialize;

use super::values::Size;
use super::{ConfigError, wrong};
use crate::limits::allowance::Pace;
use crate::limits::{Rate, Rules};

/// The rate that each of a kind may go at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RateLimit {
    of: Of,
    rate: Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Key,
    Bucket,
    Address,
}

/// A text that is no rate limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitError {
    /// It does not begin with a kind.
    #[error("{0:?} is not key:..., bucket:... or address:...")]
    Of(String),
    /// There is something in it that means nothing, or twice.
    #[error("{0:?} is not one of requests=NUMBER, burst=NUMBER, in=SIZE, out=SIZE, each once")]
    Part(String),
    /// A rate is no number above 0.
    #[error("{0:?} is not above 0")]
    Zero(String),
    /// Nothing is limited.
    #[error("it needs requests=NUMBER, in=SIZE or out=SIZE")]
    Nothing,
    /// A burst of nothing.
    #[error("burst=NUMBER goes with requests=NUMBER")]
    Burst,
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let (of, parts) = text.trim().split_once(':').ok_or_else(|| RateLimitError::Of(text.to_owned()))?;
        let of = match of {
            "key" => Of::Key,
            "bucket" => Of::Bucket,
            "address" => Of::Address,
            _ => return Err(RateLimitError::Of(text.to_owned())),
        };
        let (mut requests, mut burst, mut received, mut sent) = (None, None, None, None);
        for part in parts.split(',') {
            let unknown = || RateLimitError::Part(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            let (place, number) = match name.trim() {
                "requests" => (&mut requests, value.trim().parse().ok()),
                "burst" => (&mut burst, value.trim().parse().ok()),
                "in" => (&mut received, value.parse().ok().map(|Size(bytes)| bytes)),
                "out" => (&mut sent, value.parse().ok().map(|Size(bytes)| bytes)),
                _ => return Err(unknown()),
            };
            let number =
                NonZeroU64::new(number.ok_or_else(unknown)?).ok_or_else(|| RateLimitError::Zero(part.to_owned()))?;
            if place.replace(number).is_some() {
                return Err(unknown());
            }
        }
        let requests = match (requests, burst) {
            (Some(per_second), burst) => Some(Pace { per_second, burst: burst.unwrap_or(per_second) }),
            (None, Some(_)) => return Err(RateLimitError::Burst),
            (None, None) => None,
        };
        let rate = Rate { requests, received: received.map(Pace::even), sent: sent.map(Pace::even) };
        if rate == Rate::default() { Err(RateLimitError::Nothing) } else { Ok(Self { of, rate }) }
    }
}

impl TryFrom<String> for RateLimit {
    type Error = RateLimitError;

    fn try_from(text: String) -> Result<Self, RateLimitError> {
        text.parse()
    }
}

/// Puts rates into `rules`; at most one of a kind.
pub(super) fn resolve(limits: &[RateLimit], rules: &mut Rules) -> Result<(), ConfigError> {
    for limit in limits {
        let place = match limit.of {
            Of::Key => &mut rules.key,
            Of::Bucket => &mut rules.bucket,
            Of::Address => &mut rules.address,
        };
        if place.replace(limit.rate).is_some() {
            return Err(wrong("rate_limit", "there is more than one of a kind"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pace(per_second: u64, burst: u64) -> Option<Pace> {
        Some(Pace { per_second: NonZeroU64::new(per_second).unwrap(), burst: NonZeroU64::new(burst).unwrap() })
    }

    #[test]
    fn rates_are_read() {
        let all: RateLimit = "key:requests=500,burst=1000, in=50MiB,out=1GB".parse().unwrap();
        let rate = Rate {
            requests: pace(500, 1000),
            received: pace(50 << 20, 50 << 20),
            sent: pace(1_000_000_000, 1_000_000_000),
        };
        assert_eq!(all, RateLimit { of: Of::Key, rate });
        let one: RateLimit = "address:requests=7".parse().unwrap();
        assert_eq!(one, RateLimit { of: Of::Address, rate: Rate { requests: pace(7, 7), ..Rate::default() } });
        for (text, said) in [
            ("requests=5", "address:..."),
            ("user:requests=5", "address:..."),
            ("key:", "burst=NUMBER"),
            ("key:requests", "each once"),
            ("key:requests=5,requests=6", "each once"),
            ("key:requests=5/s", "each once"),
            ("key:in=fast", "each once"),
            ("key:requests=0", "above 0"),
            ("key:burst=5", "goes with"),
        ] {
            let error = text.parse::<RateLimit>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn there_is_one_of_a_kind() {
        let limits = ["key:requests=5", "bucket:out=1MiB"].map(|text| text.parse().unwrap());
        let mut rules = Rules::default();
        resolve(&limits, &mut rules).unwrap();
        assert_eq!((rules.key.unwrap().requests, rules.bucket.unwrap().sent), (pace(5, 5), pace(1 << 20, 1 << 20)));
        assert_eq!(rules.address, None);
        assert!(resolve(&limits, &mut rules).unwrap_err().to_string().contains("rate_limit"));
    }
}
