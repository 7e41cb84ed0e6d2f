//! Rows, as expressions see them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Result, fail};
use super::syntax::Name;
use super::value::Value;

/// The names of a table's columns.
#[derive(Debug, Default)]
pub(super) struct Header {
    names: Vec<String>,
    exactly: HashMap<String, usize>,
    folded: HashMap<String, usize>,
}

impl Header {
    pub(super) fn new(names: Vec<String>) -> Self {
        let mut header = Self::default();
        for (at, name) in names.iter().enumerate() {
            // The first of several is what the name means.
            header.exactly.entry(name.clone()).or_insert(at);
            header.folded.entry(name.to_ascii_lowercase()).or_insert(at);
        }
        header.names = names;
        header
    }

    fn find(&self, name: &Name) -> Option<usize> {
        let folded = || if name.quoted { None } else { self.folded.get(&name.text.to_ascii_lowercase()) };
        self.exactly.get(&name.text).or_else(folded).copied()
    }

    pub(super) fn name(&self, at: usize) -> Option<&str> {
        self.names.get(at).map(String::as_str)
    }

    /// Whether all that a query names is there, once.
    pub(super) fn check(&self, columns: &[Name]) -> Result<()> {
        for name in columns {
            match self.find(name) {
                None if name.position().is_none() => {
                    let message = "Some headers in the query are missing from the file. Check the file and try again.";
                    return fail("MissingHeaders", message);
                }
                Some(at)
                    if self.names.get(at..).is_some_and(|all| all.iter().filter(|n| **n == name.text).count() > 1) =>
                {
                    let message = "The field name matches to multiple fields in the file. Check the SQL expression and the \
                                   file, and try again.";
                    return fail("AmbiguousFieldName", message);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A row.
#[derive(Debug)]
pub(super) enum Row {
    /// Of a table: columns that have a place, and perhaps a name.
    Table { header: Arc<Header>, fields: Vec<Value> },
    /// Of a JSON document: whatever is there.
    Json(Value),
}

impl Row {
    /// A row without anything in it.
    pub(super) fn nothing() -> Self {
        Self::Json(Value::Missing)
    }

    /// A column by its name, or by its place.
    pub(super) fn column(&self, name: &Name) -> Option<&Value> {
        match self {
            Self::Table { header, fields } => {
                let at = header.find(name).or_else(|| name.position())?;
                fields.get(at)
            }
            Self::Json(value) => {
                // `_1` is all there is in a row that has no columns.
                value.member(&name.text, name.quoted).or_else(|| (name.position() == Some(0)).then_some(value))
            }
        }
    }

    /// The row as one value.
    pub(super) fn whole(&self) -> Cow<'_, Value> {
        match self {
            Self::Json(value) => Cow::Borrowed(value),
            Self::Table { .. } => {
                let mut members = Vec::new();
                self.each(|name, value| {
                    members.push((name.to_owned(), value.clone()));
                    Ok(())
                })
                // Nothing in it fails.
                .unwrap_or_default();
                Cow::Owned(Value::Struct(members))
            }
        }
    }

    /// What `*` stands for.
    pub(super) fn each(&self, mut of: impl FnMut(&str, &Value) -> Result<()>) -> Result<()> {
        match self {
            Self::Table { header, fields } => {
                for (at, value) in fields.iter().enumerate() {
                    match header.name(at) {
                        Some(name) => of(name, value)?,
                        None => of(&format!("_{}", at + 1), value)?,
                    }
                }
                Ok(())
            }
            Self::Json(Value::Struct(members)) => members.iter().try_for_each(|(name, value)| of(name, value)),
            Self::Json(Value::Missing) => Ok(()),
            Self::Json(value) => of("_1", value),
        }
    }
}
