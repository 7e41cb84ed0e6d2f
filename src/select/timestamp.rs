//! Timestamps as S3 Select has them: Ion's, of a precision from the year to fractions of a second, with an offset from UTC or none.
//!
//! Source: "Data types" and "Date functions" in the Amazon S3 user guide's SQL reference for S3 Select; the text form is Ion's.

use std::cmp::Ordering;
use std::fmt;

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

use super::error::{Result, fail, refused};

/// Down to what a timestamp is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Year,
    Month,
    Day,
    Minute,
    Second,
    /// Digits of the fraction: 1 to 9.
    Fraction(u8),
}

/// A point in time.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    at: OffsetDateTime,
    precision: Precision,
    /// Whether the offset is known; if not it is written `-00:00`.
    local: bool,
}

/// A part of a date, as the date functions name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatePart {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    TimezoneHour,
    TimezoneMinute,
}

impl DatePart {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "second" => Self::Second,
            "timezone_hour" => Self::TimezoneHour,
            "timezone_minute" => Self::TimezoneMinute,
            _ => return None,
        })
    }
}

/// What is left of a text that is being read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn done(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.at.cmp(&other.at))
    }
}

impl Timestamp {
    /// 1970.
    pub(super) const EPOCH: Self =
        Self { at: OffsetDateTime::UNIX_EPOCH, precision: Precision::Fraction(3), local: false };

    /// An instant in milliseconds since 1970.
    pub(super) fn from_millis(millis: i64) -> Option<Self> {
        Self::from_nanos(i128::from(millis).checked_mul(1_000_000)?, 3)
    }

    /// An instant in nanoseconds since 1970, of which `digits` of the fraction count.
    pub(super) fn from_nanos(nanos: i128, digits: u8) -> Option<Self> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        Some(Self { at, precision: Precision::Fraction(digits), local: false })
    }

    /// A day, counted from 1970-01-01.
    #[cfg(feature = "select-parquet")]
    pub(super) fn from_day(day: i32) -> Option<Self> {
        let at = OffsetDateTime::UNIX_EPOCH.checked_add(Duration::days(i64::from(day)))?;
        Some(Self { at, precision: Precision::Day, local: true })
    }

    /// Reads what Ion writes: `2007T`, `2007-02T`, `2007-02-23`, `2007-02-23T12:14Z`, `2007-02-23T12:14:33.079-08:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = Cursor(text.as_bytes());
        let year = i32::try_from(rest.digits(4)?).ok()?;
        let (mut month, mut day, mut precision) = (1, 1, Precision::Year);
        if rest.eat(b'-') {
            (month, precision) = (rest.digits(2)?, Precision::Month);
            if rest.eat(b'-') {
                (day, precision) = (rest.digits(2)?, Precision::Day);
            }
        }
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
        let at_midnight = |precision| Self { at: date.midnight().assume_utc(), precision, local: true };
        if rest.done() {
            // Only a whole date may be without its T.
            return (precision == Precision::Day).then(|| at_midnight(precision));
        }
        if !rest.eat(b'T') {
            return None;
        }
        if rest.done() {
            return Some(at_midnight(precision));
        }
        if precision != Precision::Day {
            return None;
        }
        let hour = rest.digits(2)?;
        if !rest.eat(b':') {
            return None;
        }
        let minute = rest.digits(2)?;
        let (mut second, mut nanos, mut precision) = (0, 0, Precision::Minute);
        if rest.eat(b':') {
            (second, precision) = (rest.digits(2)?, Precision::Second);
            if rest.eat(b'.') {
                let mut count = 0_u8;
                while let Some(digit) = rest.digits(1) {
                    // Finer than a nanosecond is cut off.
                    if count < 9 {
                        nanos = nanos * 10 + digit;
                        count += 1;
                    }
                }
                if count == 0 {
                    return None;
                }
                nanos *= 10_u32.pow(u32::from(9 - count));
                precision = Precision::Fraction(count);
            }
        }
        let (offset, local) = Self::parse_offset(&mut rest)?;
        if !rest.done() {
            return None;
        }
        let byte = |number: u32| u8::try_from(number).ok();
        let time = Time::from_hms_nano(byte(hour)?, byte(minute)?, byte(second)?, nanos).ok()?;
        // Of the local time, so that no instant is outside of what can be shown.
        let at = date.with_time(time).assume_offset(offset);
        at.checked_to_offset(UtcOffset::UTC)?;
        Some(Self { at, precision, local })
    }

    fn parse_offset(rest: &mut Cursor<'_>) -> Option<(UtcOffset, bool)> {
        if rest.eat(b'Z') {
            return Some((UtcOffset::UTC, false));
        }
        let negative = rest.eat(b'-');
        if !negative && !rest.eat(b'+') {
            return None;
        }
        let hours = i8::try_from(rest.digits(2)?).ok()?;
        if !rest.eat(b':') {
            return None;
        }
        let minutes = i8::try_from(rest.digits(2)?).ok()?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        let sign = if negative { -1 } else { 1 };
        let offset = UtcOffset::from_hms(hours * sign, minutes * sign, 0).ok()?;
        Some((offset, negative && offset.is_utc()))
    }

    /// `DATE_ADD`.
    pub(super) fn add(self, part: DatePart, count: i64) -> Result<Self> {
        let outside = || refused("EvaluatorInvalidArguments", "DATE_ADD leaves the range of timestamps.");
        let (at, at_least) = match part {
            DatePart::Year | DatePart::Month => {
                let months = if part == DatePart::Year { count.checked_mul(12) } else { Some(count) };
                let now = i64::from(self.at.year()) * 12 + i64::from(u8::from(self.at.month())) - 1;
                let then = months.and_then(|months| now.checked_add(months)).ok_or_else(outside)?;
                let year = i32::try_from(then.div_euclid(12)).map_err(|_| outside())?;
                let month = u8::try_from(then.rem_euclid(12) + 1).map_err(|_| outside())?;
                let month = Month::try_from(month).map_err(|_| outside())?;
                // The 31st of a shorter month is its last day.
                let day = self.at.day().min(month.length(year));
                let date = Date::from_calendar_date(year, month, day).map_err(|_| outside())?;
                let precision = if part == DatePart::Year { Precision::Year } else { Precision::Month };
                (Some(self.at.replace_date(date)), precision)
            }
            DatePart::Day => {
                (count.checked_mul(86_400).and_then(|s| self.at.checked_add(Duration::seconds(s))), Precision::Day)
            }
            DatePart::Hour => {
                (count.checked_mul(3600).and_then(|s| self.at.checked_add(Duration::seconds(s))), Precision::Minute)
            }
            DatePart::Minute => {
                (count.checked_mul(60).and_then(|s| self.at.checked_add(Duration::seconds(s))), Precision::Minute)
            }
            DatePart::Second => (self.at.checked_add(Duration::seconds(count)), Precision::Second),
            DatePart::TimezoneHour | DatePart::TimezoneMinute => {
                return fail("EvaluatorInvalidArguments", "DATE_ADD does not take a part of the time zone.");
            }
        };
        let at = at.filter(|at| (0..=9999).contains(&at.year())).ok_or_else(outside)?;
        at.checked_to_offset(UtcOffset::UTC).ok_or_else(outside)?;
        Ok(Self { at, precision: self.precision.max(at_least), local: self.local })
    }

    /// `DATE_DIFF`: how many whole parts lie between this and `later`.
    pub(super) fn until(self, later: Self, part: DatePart) -> Result<i64> {
        let seconds = |unit: i64| {
            let nanos = later.at.unix_timestamp_nanos() - self.at.unix_timestamp_nanos();
            i64::try_from(nanos / (i128::from(unit) * 1_000_000_000)).unwrap_or(i64::MAX)
        };
        Ok(match part {
            DatePart::Year => self.months_until(later) / 12,
            DatePart::Month => self.months_until(later),
            DatePart::Day => seconds(86_400),
            DatePart::Hour => seconds(3600),
            DatePart::Minute => seconds(60),
            DatePart::Second => seconds(1),
            DatePart::TimezoneHour | DatePart::TimezoneMinute => {
                return fail("EvaluatorInvalidArguments", "DATE_DIFF does not take a part of the time zone.");
            }
        })
    }

    fn months_until(self, later: Self) -> i64 {
        if later.at < self.at {
            return -later.months_until(self);
        }
        let shown = |at: OffsetDateTime| {
            let utc = at.to_offset(UtcOffset::UTC);
            (i64::from(utc.year()) * 12 + i64::from(u8::from(utc.month())), utc.day(), utc.time())
        };
        let (first, second) = (shown(self.at), shown(later.at));
        let whole = (second.1, second.2) >= (first.1, first.2);
        second.0 - first.0 - i64::from(!whole)
    }

    /// `EXTRACT`.
    pub(super) fn extract(self, part: DatePart) -> i64 {
        let offset = self.at.offset();
        match part {
            DatePart::Year => i64::from(self.at.year()),
            DatePart::Month => i64::from(u8::from(self.at.month())),
            DatePart::Day => i64::from(self.at.day()),
            DatePart::Hour => i64::from(self.at.hour()),
            DatePart::Minute => i64::from(self.at.minute()),
            DatePart::Second => i64::from(self.at.second()),
            DatePart::TimezoneHour => i64::from(offset.whole_hours()),
            DatePart::TimezoneMinute => i64::from(offset.minutes_past_hour()),
        }
    }

    /// `TO_STRING`.
    pub(super) fn format(self, pattern: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(symbol) = rest.next() {
            if symbol == '\'' {
                if rest.next_if_eq(&'\'').is_some() {
                    out.push('\'');
                    continue;
                }
                loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_none() => break,
                        Some(other) => out.push(other),
                        None => {
                            return fail(
                                "EvaluatorUnterminatedTimestampFormatPatternToken",
                                "Time stamp format pattern contains unterminated token in the SQL expression.",
                            );
                        }
                    }
                }
                continue;
            }
            if !symbol.is_ascii_alphabetic() {
                out.push(symbol);
                continue;
            }
            let mut count = 1;
            while rest.next_if_eq(&symbol).is_some() {
                count += 1;
            }
            self.format_field(&mut out, symbol, count)?;
        }
        Ok(out)
    }

    fn format_field(self, out: &mut String, symbol: char, count: usize) -> Result<()> {
        use std::fmt::Write as _;
        let at = self.at;
        let month = at.month();
        let hour12 = match at.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        // Writing to a string does not fail.
        _ = match (symbol, count) {
            ('y', 1) => write!(out, "{}", at.year()),
            ('y', 2) => write!(out, "{:02}", at.year().rem_euclid(100)),
            ('y', 3 | 4) => write!(out, "{:04}", at.year()),
            ('M', 1) => write!(out, "{}", u8::from(month)),
            ('M', 2) => write!(out, "{:02}", u8::from(month)),
            ('M', 3) => write!(out, "{}", month.to_string().get(..3).unwrap_or_default()),
            ('M', 4) => write!(out, "{month}"),
            ('M', 5) => write!(out, "{}", month.to_string().get(..1).unwrap_or_default()),
            ('d', 1) => write!(out, "{}", at.day()),
            ('d', 2) => write!(out, "{:02}", at.day()),
            ('a', 1) => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
            ('h', 1) => write!(out, "{hour12}"),
            ('h', 2) => write!(out, "{hour12:02}"),
            ('H', 1) => write!(out, "{}", at.hour()),
            ('H', 2) => write!(out, "{:02}", at.hour()),
            ('m', 1) => write!(out, "{}", at.minute()),
            ('m', 2) => write!(out, "{:02}", at.minute()),
            ('s', 1) => write!(out, "{}", at.second()),
            ('s', 2) => write!(out, "{:02}", at.second()),
            ('S', 1..=9) => write!(out, "{}", format!("{:09}", at.nanosecond()).get(..count).unwrap_or_default()),
            ('n', 1) => write!(out, "{}", at.nanosecond()),
            ('X' | 'x', 1..=5) => {
                let (hours, minutes, _) = at.offset().as_hms();
                let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
                let (hours, minutes) = (hours.unsigned_abs(), minutes.unsigned_abs());
                match count {
                    _ if symbol == 'X' && at.offset().is_utc() => write!(out, "Z"),
                    1 if minutes == 0 => write!(out, "{sign}{hours:02}"),
                    1 | 2 | 4 => write!(out, "{sign}{hours:02}{minutes:02}"),
                    _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
                }
            }
            _ => {
                return fail(
                    "EvaluatorInvalidTimestampFormatPatternSymbol",
                    format!("Time stamp format pattern contains an invalid symbol in the SQL expression: {symbol}."),
                );
            }
        };
        Ok(())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        write!(f, "{:04}", at.year())?;
        if self.precision >= Precision::Month {
            write!(f, "-{:02}", u8::from(at.month()))?;
        }
        if self.precision >= Precision::Day {
            write!(f, "-{:02}", at.day())?;
        }
        f.write_str("T")?;
        if self.precision < Precision::Minute {
            return Ok(());
        }
        write!(f, "{:02}:{:02}", at.hour(), at.minute())?;
        if self.precision >= Precision::Second {
            write!(f, ":{:02}", at.second())?;
        }
        if let Precision::Fraction(digits) = self.precision {
            let all = format!("{:09}", at.nanosecond());
            write!(f, ".{}", all.get(..usize::from(digits)).unwrap_or(&all))?;
        }
        let (hours, minutes, _) = at.offset().as_hms();
        match (self.local, at.offset().is_utc()) {
            (true, _) => f.write_str("-00:00"),
            (false, true) => f.write_str("Z"),
            (false, false) => {
                let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in [
            "2007T",
            "2007-02T",
            "2007-02-23T",
            "2007-02-23T12:14Z",
            "2007-02-23T12:14:33Z",
            "2007-02-23T12:14:33.079-08:00",
            "2007-02-23T20:14:33.079123456+05:30",
            "2007-01-01T00:00-00:00",
            "2016-02-29T23:59:59.9Z",
        ] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("2007-02-23").to_string(), "2007-02-23T");
        for text in
            ["", "2007", "2007-02", "2007-13T", "2007-02-29T", "2007T12:00Z", "2007-02-23T12:14", "2007-02-23T24:00Z"]
        {
            assert!(Timestamp::parse(text).is_none(), "{text}");
        }
        assert!(Timestamp::parse("2007-02-23T12:14:33.Z").is_none());
        assert!(Timestamp::parse("2007-02-23T12:14:33Zx").is_none());
        assert!(Timestamp::parse("٢٠٠٧T").is_none());
    }

    /// The examples of the SQL reference.
    #[test]
    fn dates_are_added_and_compared_as_documented() {
        let added = |part, count, text| at(text).add(part, count).unwrap().to_string();
        assert_eq!(added(DatePart::Year, 5, "2010-01-01T"), "2015-01-01T");
        assert_eq!(added(DatePart::Month, 1, "2010T"), "2010-02T");
        assert_eq!(added(DatePart::Month, 13, "2010T"), "2011-02T");
        assert_eq!(added(DatePart::Day, -1, "2017-01-10T"), "2017-01-09T");
        assert_eq!(added(DatePart::Hour, 1, "2017T"), "2017-01-01T01:00-00:00");
        assert_eq!(added(DatePart::Hour, 1, "2017-01-02T03:04Z"), "2017-01-02T04:04Z");
        assert_eq!(added(DatePart::Minute, 1, "2017-01-02T03:04:05.006Z"), "2017-01-02T03:05:05.006Z");
        assert_eq!(added(DatePart::Second, 1, "2017-01-02T03:04:05.006Z"), "2017-01-02T03:04:06.006Z");
        assert_eq!(added(DatePart::Month, 1, "2017-01-31T"), "2017-02-28T");
        assert!(at("2017T").add(DatePart::Year, i64::MAX).is_err());
        assert!(at("2017T").add(DatePart::Day, i64::MIN).is_err());
        assert!(at("0000T").add(DatePart::Second, -1).is_err());

        let between = |part, first, second| at(first).until(at(second), part).unwrap();
        assert_eq!(between(DatePart::Year, "2010-01-01T", "2011-01-01T"), 1);
        assert_eq!(between(DatePart::Month, "2010T", "2010-05T"), 4);
        assert_eq!(between(DatePart::Month, "2010T", "2011T"), 12);
        assert_eq!(between(DatePart::Month, "2011T", "2010T"), -12);
        assert_eq!(between(DatePart::Day, "2010-01-01T23:00Z", "2010-01-02T01:00Z"), 0);
    }

    /// The examples of the SQL reference.
    #[test]
    fn dates_are_formatted_as_documented() {
        let shown = |text, pattern| at(text).format(pattern).unwrap();
        assert_eq!(shown("1969-07-20T20:18Z", "MMMM d, y"), "July 20, 1969");
        assert_eq!(shown("1969-07-20T20:18Z", "MMM d, yyyy"), "Jul 20, 1969");
        assert_eq!(shown("1969-07-20T20:18Z", "M-d-yy"), "7-20-69");
        assert_eq!(shown("1969-07-20T20:18Z", "MM-d-y"), "07-20-1969");
        assert_eq!(shown("1969-07-20T20:18Z", "MMMM d, y h:m a"), "July 20, 1969 8:18 PM");
        assert_eq!(shown("1969-07-20T20:18Z", "y-MM-dd'T'H:m:ssX"), "1969-07-20T20:18:00Z");
        assert_eq!(shown("1969-07-20T20:18+08:00", "y-MM-dd'T'H:m:ssX"), "1969-07-20T20:18:00+08");
        assert_eq!(shown("1969-07-20T20:18+08:00", "y-MM-dd'T'H:m:ssXXXX"), "1969-07-20T20:18:00+0800");
        assert_eq!(shown("1969-07-20T20:18+08:00", "y-MM-dd'T'H:m:ssXXXXX"), "1969-07-20T20:18:00+08:00");
        assert_eq!(shown("1969-07-20T20:18Z", "'it''s' ''"), "it's '");
        assert!(at("1969T").format("Q").is_err());
        assert!(at("1969T").format("'x").is_err());
    }
}
