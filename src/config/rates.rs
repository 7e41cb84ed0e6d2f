//! Settings of what requests may take. Rates as people write them: `key:requests=500,burst=1000,out=50MiB`.

use std::num::NonZeroU64;
use std::str::FromStr;

use serde::Deserialize;

use super::values::Size;
use super::{ConfigError, machine, positive, wrong};
use crate::limits::allowance::Pace;
use crate::limits::{Rate, Rules};

/// The least that `max_request_memory` can be: more than any one request takes.
pub(super) const LEAST_MEMORY: u64 = 128 << 20;

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

/// What all requests may take together, and each key, bucket and address; there is one rate at most of a kind.
pub(super) fn resolve(
    requests: Option<usize>,
    memory: Option<Size>,
    rates: &[RateLimit],
) -> Result<Rules, ConfigError> {
    let usual = Rules::default();
    let memory = match memory {
        Some(Size(memory)) if memory < LEAST_MEMORY => {
            return Err(wrong("max_request_memory", format!("it must be {} at least", Size(LEAST_MEMORY))));
        }
        Some(Size(memory)) => memory,
        None => machine::memory().map_or(usual.memory, |all| (all / 2).max(LEAST_MEMORY)),
    };
    let requests = positive("max_requests", requests, usize::try_from(usual.requests).unwrap_or(usize::MAX))? as u64;
    let mut rules = Rules { requests, memory, ..usual };
    for limit in rates {
        let place = match limit.of {
            Of::Key => &mut rules.key,
            Of::Bucket => &mut rules.bucket,
            Of::Address => &mut rules.address,
        };
        if place.replace(limit.rate).is_some() {
            return Err(wrong("rate_limit", "there is more than one of a kind"));
        }
    }
    Ok(rules)
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
        let rules = resolve(None, None, &limits).unwrap();
        assert_eq!((rules.key.unwrap().requests, rules.bucket.unwrap().sent), (pace(5, 5), pace(1 << 20, 1 << 20)));
        assert_eq!(rules.address, None);
        let twice = [limits[0], limits[1], limits[0]];
        assert!(resolve(None, None, &twice).unwrap_err().to_string().contains("rate_limit"));
    }
}
