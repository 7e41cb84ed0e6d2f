//! The keys of log objects.
//!
//! Source: "Logging requests with server access logging" in the Amazon S3 user guide, where it shows how log objects are named.

use time::OffsetDateTime;

use crate::clock::{Millis, random_bytes};
use crate::objects::{LogKeys, LoggedBucket};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The day that a record belongs to; those of one day go into one object, if keys are by the days of requests.
pub(super) fn day(bucket: &LoggedBucket, at: Millis) -> Option<i64> {
    (bucket.logging.keys == Some(LogKeys::PartitionedByEvent)).then(|| at.div_euclid(DAY_MS))
}

/// The key of an object that is delivered at `now`; `day` is what [`day`] says of its records.
pub(super) fn key(bucket: &LoggedBucket, region: &str, day: Option<i64>, now: Millis) -> String {
    let LoggedBucket { name, owner, logging } = bucket;
    let prefix = &logging.prefix;
    // Of a day of requests S3 says no time of the day.
    let at = day.map_or(now, |day| day * DAY_MS);
    let at = OffsetDateTime::from_unix_timestamp(at.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, date) = (at.year(), u8::from(at.month()), at.day());
    let unique = hex::encode_upper(random_bytes::<8>());
    let moment =
        format!("{year:04}-{month:02}-{date:02}-{:02}-{:02}-{:02}-{unique}", at.hour(), at.minute(), at.second());
    match logging.keys {
        None | Some(LogKeys::Simple) => format!("{prefix}{moment}"),
        Some(LogKeys::PartitionedByEvent | LogKeys::PartitionedByDelivery) => {
            format!("{prefix}{owner}/{region}/{name}/{year:04}/{month:02}/{date:02}/{moment}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Logging;

    #[test]
    fn keys_have_a_prefix_and_a_time() {
        let bucket = |keys| LoggedBucket {
            name: "bkt".into(),
            owner: "own".into(),
            logging: Logging { to: "logs".into(), prefix: "p/".into(), keys },
        };
        let now = 1_700_000_000_000;
        for (keys, start) in [
            (None, "p/2023-11-14-22-13-20-"),
            (Some(LogKeys::Simple), "p/2023-11-14-22-13-20-"),
            (Some(LogKeys::PartitionedByDelivery), "p/own/eu-west-1/bkt/2023/11/14/2023-11-14-22-13-20-"),
            (Some(LogKeys::PartitionedByEvent), "p/own/eu-west-1/bkt/2023/11/13/2023-11-13-00-00-00-"),
        ] {
            let bucket = bucket(keys);
            let day = day(&bucket, now - DAY_MS);
            let key = key(&bucket, "eu-west-1", day, now);
            let unique = key.strip_prefix(start).unwrap_or_default();
            assert!(unique.len() == 16 && unique.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
        }
    }
}
