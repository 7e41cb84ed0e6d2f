//! The parameters of a request in AWS's query protocol: `Action=…&Tags.member.1.Key=…`.

use std::collections::BTreeMap;

use super::documents::check_tag;
use super::{Problem, Result};
use crate::metadata::Tags;

/// Members of one list at most; no list that is read here may be longer.
const MEMBERS: usize = 100;

/// Names and values, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Adds those of a query string, or of a form in a body.
    ///
    /// # Errors
    /// A name that is there already: which one counts would be anyone's guess.
    pub fn add(&mut self, form: &[u8]) -> Result<()> {
        for (name, value) in url::form_urlencoded::parse(form) {
            if name.starts_with("X-Amz-") {
                continue;
            }
            if self.0.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::bad("MalformedInput", format!("{name} is there more than once")));
            }
        }
        Ok(())
    }

    /// The value of a parameter; `None` if it is not there, or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same, be it empty.
    pub(super) fn any(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn need(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            let at = name.get(..1).unwrap_or_default().to_lowercase() + name.get(1..).unwrap_or_default();
            Problem::bad(
                "ValidationError",
                format!("1 validation error detected: Value null at '{at}' failed to satisfy constraint: Member must not be null"),
            )
        })
    }

    /// Whether a parameter is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number within bounds.
    pub(super) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::bad(
                "ValidationError",
                format!(
                    "Value '{value}' at '{name}' failed to satisfy constraint: it must be a number from {least} to {most}"
                ),
            )),
        }
    }

    /// The members of a list: `NAME.member.1`, and so on, each with what is behind it.
    pub(super) fn members(&self, list: &str, behind: &str) -> impl Iterator<Item = &str> {
        (1..=MEMBERS).map_while(move |number| self.any(&format!("{list}.member.{number}{behind}")))
    }

    /// `Tags`, 50 at most: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>.
    pub(super) fn tags(&self) -> Result<Tags> {
        let mut tags = Tags::new();
        for (number, key) in self.members("Tags", ".Key").enumerate() {
            let value = self.any(&format!("Tags.member.{}.Value", number + 1)).unwrap_or_default();
            check_tag(key, value)?;
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Problem::bad(
                    "InvalidInput",
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                ));
            }
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_end_where_they_have_a_gap() {
        let mut params = Params::default();
        params.add(b"Action=A+B&L.member.1=x&L.member.2=%2F&L.member.4=y&X-Amz-Date=1&E=").unwrap();
        assert_eq!(params.members("L", "").collect::<Vec<_>>(), ["x", "/"]);
        assert_eq!((params.get("Action"), params.get("E"), params.get("X-Amz-Date")), (Some("A B"), None, None));
        assert!(params.add(b"Action=C").is_err());
    }
}
