//! Values as people write them: `30s`, `7d`, `10TiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// A number of bytes: a whole number, alone or with `K`, `M`, `G`, `T`, `P` (thousands) or `KiB`, `MiB`, ... (1024s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A text that is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(&'static str);

/// A list, or the one thing that would be in it.
pub(super) fn one_or_many<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("a length of time is a number with ms, s, m, h or d, such as 30s");
        let (number, unit) = split(text.trim());
        let number: u64 = number.parse().map_err(|_| ERROR)?;
        let millis = match unit.trim_start() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(ERROR),
        };
        number.checked_mul(millis).map(|millis| Self(Duration::from_millis(millis))).ok_or(ERROR)
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError =
            ValueError("a size is a number of bytes, or one with KB, MB, GB, TB, KiB, MiB, GiB, TiB");
        let (number, unit) = split(text.trim());
        let number: u64 = number.parse().map_err(|_| ERROR)?;
        let unit = unit.trim_start().to_ascii_lowercase();
        let (letter, binary) = match unit.strip_suffix("ib") {
            Some(letter) => (letter, true),
            None => (unit.strip_suffix('b').unwrap_or(&unit), false),
        };
        let power = match letter {
            "" if !binary => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            "p" => 5,
            _ => return Err(ERROR),
        };
        let unit = if binary { 1024_u64 } else { 1000 }.pow(power);
        number.checked_mul(unit).map(Self).ok_or(ERROR)
    }
}

impl TryFrom<String> for Span {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl TryFrom<String> for Size {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        for (text, seconds) in [("30s", 30), ("5 m", 300), ("2h", 7200), ("7d", 604_800), ("1000ms", 1)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "30", "s", "1.5h", "-1s", "30 seconds", "99999999999999999999d", "9999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for (text, bytes) in
            [("0", 0), ("10", 10), ("10B", 10), ("2KB", 2000), ("2k", 2000), ("3 GiB", 3 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "GiB", "1XB", "1ib", "-1", "1.5T", "99999PiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
