//! One line of a server access log.
//!
//! Source: "Amazon S3 server access log format" in the Amazon S3 user guide; the fields are in its order.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;

use crate::access::query::is_secret;
use crate::clock::Millis;

/// What a request was and what came of it. What is `None`, and a number that is 0 where S3 says so, is written as `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Canonical id of the bucket's owner.
    pub owner: String,
    /// The bucket.
    pub bucket: String,
    /// When the request came.
    pub at: Millis,
    /// The address that it came from.
    pub peer: String,
    /// Canonical id of who asked, if that was verified.
    pub requester: Option<String>,
    /// The id that client and log know the request by.
    pub request_id: String,
    /// What was asked for, in S3's words, such as `REST.GET.OBJECT`.
    pub operation: String,
    /// The key, decoded.
    pub key: Option<String>,
    /// Method, path with query, and version.
    pub request: String,
    /// The answer's status.
    pub status: u16,
    /// S3's name of what went wrong.
    pub error: Option<String>,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Length of the whole object.
    pub size: Option<u64>,
    /// Milliseconds from the request's coming until the answer was sent.
    pub total_ms: u64,
    /// Milliseconds from the end of the request until the answer's beginning.
    pub turnaround_ms: u64,
    /// `Referer`
    pub referer: Option<String>,
    /// `User-Agent`
    pub agent: Option<String>,
    /// `versionId`
    pub version: Option<String>,
    /// `x-amz-id-2` of the answer.
    pub host_id: String,
    /// `SigV2` or `SigV4`
    pub signature: Option<&'static str>,
    /// The cipher of the connection.
    pub cipher: Option<Arc<str>>,
    /// `AuthHeader` or `QueryString`
    pub auth: Option<&'static str>,
    /// The host that the request was sent to.
    pub host: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`
    pub tls: Option<&'static str>,
}

/// Kept as they are in a key.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What would end a quoted field before its time, or the line.
const QUOTED: &AsciiSet = &CONTROLS.add(b'"');
/// The same of a field that a blank ends.
const BARE: &AsciiSet = &QUOTED.add(b' ');

impl Record {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let mut line = String::with_capacity(512);
        self.write(&mut line);
        line
    }

    fn write(&self, line: &mut String) {
        let at = OffsetDateTime::from_unix_timestamp(self.at.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = MONTHS.get(usize::from(u8::from(at.month())) - 1).unwrap_or(&"Jan");
        bare(line, Some(&self.owner));
        bare(line, Some(&self.bucket));
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "[{:02}/{month}/{}:{:02}:{:02}:{:02} +0000] ",
            at.day(),
            at.year(),
            at.hour(),
            at.minute(),
            at.second()
        );
        bare(line, Some(&self.peer));
        bare(line, self.requester.as_deref());
        bare(line, Some(&self.request_id));
        bare(line, Some(&self.operation));
        match &self.key {
            Some(key) => {
                let _ = write!(line, "{} ", utf8_percent_encode(key, KEY));
            }
            None => line.push_str("- "),
        }
        quoted(line, Some(&self.request));
        let _ = write!(line, "{} ", self.status);
        bare(line, self.error.as_deref());
        number(line, Some(self.sent).filter(|&sent| sent > 0));
        number(line, self.size);
        number(line, Some(self.total_ms));
        number(line, Some(self.turnaround_ms));
        quoted(line, self.referer.as_deref());
        quoted(line, self.agent.as_deref());
        bare(line, self.version.as_deref());
        bare(line, Some(&self.host_id));
        bare(line, self.signature);
        bare(line, self.cipher.as_deref());
        bare(line, self.auth);
        bare(line, self.host.as_deref());
        bare(line, self.tls);
        // There are no access points, and no ACLs that could be required.
        line.push_str("- -\n");
    }
}

fn bare(line: &mut String, text: Option<&str>) {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => {
            let _ = write!(line, "{} ", utf8_percent_encode(text, BARE));
        }
        None => line.push_str("- "),
    }
}

fn quoted(line: &mut String, text: Option<&str>) {
    match text {
        Some(text) => {
            let _ = write!(line, "\"{}\" ", utf8_percent_encode(text, QUOTED));
        }
        None => line.push_str("\"-\" "),
    }
}

fn number(line: &mut String, number: Option<u64>) {
    match number {
        Some(number) => {
            let _ = write!(line, "{number} ");
        }
        None => line.push_str("- "),
    }
}

/// A path with its query, without the values of signatures and tokens.
pub fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pieces: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|piece| match piece.split_once('=') {
            Some((name, _)) if is_secret(&percent_encoding::percent_decode_str(name).decode_utf8_lossy()) => {
                format!("{name}=REDACTED").into()
            }
            _ => piece.into(),
        })
        .collect();
    format!("{path}?{}", pieces.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            owner: "79a5".into(),
            bucket: "bkt".into(),
            at: 1_549_411_238_999,
            peer: "192.0.2.3".into(),
            requester: Some("79a5".into()),
            request_id: "3E57".into(),
            operation: "REST.GET.OBJECT".into(),
            key: Some("a b/ü\"\n".into()),
            request: "GET /bkt/a%20b?x-foo=\"bar HTTP/1.1".into(),
            status: 206,
            error: None,
            sent: 5,
            size: Some(10),
            total_ms: 70,
            turnaround_ms: 3,
            referer: None,
            agent: Some("a\" \"b\" \u{1}ä".into()),
            version: Some("null".into()),
            host_id: "s9lz+/=".into(),
            signature: Some("SigV4"),
            cipher: None,
            auth: Some("AuthHeader"),
            host: Some("h:9000 x".into()),
            tls: None,
        }
    }

    #[test]
    fn the_fields_are_in_their_order() {
        assert_eq!(
            record().line(),
            "79a5 bkt [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a5 3E57 REST.GET.OBJECT a%20b/%C3%BC%22%0A \
             \"GET /bkt/a%20b?x-foo=%22bar HTTP/1.1\" 206 - 5 10 70 3 \"-\" \"a%22 %22b%22 %01%C3%A4\" null s9lz+/= SigV4 - \
             AuthHeader h:9000%20x - - -\n"
        );
        let bare = Record { owner: "o".into(), bucket: "b".into(), peer: "p".into(), status: 404, ..Record::default() };
        assert_eq!(
            bare.line(),
            "o b [01/Jan/1970:00:00:00 +0000] p - - - - \"\" 404 - - - 0 0 \"-\" \"-\" - - - - - - - - -\n"
        );
    }

    #[test]
    fn nobody_can_do_again_what_the_log_says() {
        for (target, expected) in [
            ("/b/k", "/b/k"),
            ("/b/k?", "/b/k?"),
            ("/b/k?a=b&X-Amz-Signature=cafe&c", "/b/k?a=b&X-Amz-Signature=REDACTED&c"),
            ("/b/k?X%2DAmz-Signature=cafe", "/b/k?X%2DAmz-Signature=REDACTED"),
            ("/b?continuation-token=t", "/b?continuation-token=t"),
            ("/b?X-Amz-Security-Token=t&Signature=s", "/b?X-Amz-Security-Token=REDACTED&Signature=REDACTED"),
        ] {
            assert_eq!(without_secrets(target), expected);
        }
    }
}
