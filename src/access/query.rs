//! A query string as its names and values, read the way the signature was made over it.

use percent_encoding::percent_decode;

/// A query string that no request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A name or value is not UTF-8 once percent-decoded.
    #[error("the query string is not UTF-8")]
    NotUtf8,
    /// A name or value holds a NUL, which no key or name may.
    #[error("the query string holds a NUL")]
    Nul,
    /// A parameter is there twice that may not be, and which one counts would be anyone's guess.
    #[error("a query parameter occurs twice")]
    Duplicate,
}

/// The one parameter that is a list, by being there more than once: what ListenBucketNotification listens to.
const REPEATED: &str = "events";

/// The parameters of a query string, in the order they came, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string: `&` separates, `+` is a blank, the first `=` ends the name.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong with it.
    pub fn parse(raw: Option<&str>) -> Result<Self, QueryError> {
        let Self(pairs) = Self::parse_lists(raw)?;
        let is_twice = |(at, (name, _)): (usize, &(String, String))| {
            name != REPEATED && pairs.iter().take(at).any(|(known, _)| known == name)
        };
        if pairs.iter().enumerate().any(is_twice) { Err(QueryError::Duplicate) } else { Ok(Self(pairs)) }
    }

    /// The same where a parameter may be there more than once, as in MinIO's administrative API.
    ///
    /// # Errors
    /// [`QueryError`], but for [`QueryError::Duplicate`].
    pub fn parse_lists(raw: Option<&str>) -> Result<Self, QueryError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in raw.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter; empty if it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The values of a parameter that may be there more than once.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Whether the value of a parameter of this name, in any case, lets whoever reads it do what its sender could: signatures, tokens, passwords,
/// secret keys. Where a listing goes on is none.
pub fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 6] = ["signature", "token", "password", "secret", "customer-key", "assertion"];
    let name = name.to_ascii_lowercase();
    name != "continuation-token" && PARTS.iter().any(|part| name.contains(part))
}

fn decode(raw: &str) -> Result<String, QueryError> {
    let blanks = raw.replace('+', " ");
    let bytes: Vec<u8> = percent_decode(blanks.as_bytes()).collect();
    if bytes.contains(&0) {
        return Err(QueryError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| QueryError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::parse(Some("a=1&&b&c=%2F+x=y&d=")).unwrap_or_default();
        assert_eq!(query.iter().collect::<Vec<_>>(), [("a", "1"), ("b", ""), ("c", "/ x=y"), ("d", "")]);
        assert!(query.has("b") && !query.has("e"));
        assert_eq!(Query::parse(None), Ok(Query::default()));
    }

    #[test]
    fn what_no_request_may_have_is_refused() {
        assert_eq!(Query::parse(Some("a=%00")), Err(QueryError::Nul));
        assert_eq!(Query::parse(Some("a=%ff")), Err(QueryError::NotUtf8));
        assert_eq!(Query::parse(Some("a=1&b&a=1")), Err(QueryError::Duplicate));
        let listening = Query::parse(Some("events=a&events=b")).unwrap_or_default();
        assert_eq!(listening.all("events").collect::<Vec<_>>(), ["a", "b"]);
    }
}
