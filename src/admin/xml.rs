//! Answers as AWS's query protocol has them.

use std::fmt::Write as _;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::clock::Millis;

/// XML as it is written.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with a text.
    pub(super) fn text(&mut self, name: &str, text: impl AsRef<str>) {
        let escaped = quick_xml::escape::escape(text.as_ref());
        // Writing to a String cannot fail.
        let _ = write!(self.0, "<{name}>{escaped}</{name}>");
    }

    /// A text without an element of its own.
    pub(super) fn raw(&mut self, text: &str) {
        self.0.push_str(&quick_xml::escape::escape(text));
    }

    /// What was written elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        self.0.push_str(&other.0);
    }

    /// The same, if there is one.
    pub(super) fn some(&mut self, name: &str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element with a moment.
    pub(super) fn moment(&mut self, name: &str, at: Millis) {
        self.text(name, moment(at));
    }

    /// An element with others.
    pub(super) fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{name}>");
        inner(self);
        let _ = write!(self.0, "</{name}>");
    }

    /// A list.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.within(name, |xml| {
            for item in items {
                xml.within("member", |xml| each(xml, item));
            }
        });
    }

    /// The answer to an action.
    pub(super) fn answer(self, namespace: &str, action: &str, has_result: bool, request_id: &str) -> String {
        let Self(result) = self;
        let result = if has_result { format!("<{action}Result>{result}</{action}Result>") } else { String::new() };
        format!(
            "<{action}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
             </{action}Response>"
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An error.
pub(super) fn error(namespace: &str, at_fault: &str, code: &str, message: &str, request_id: &str) -> String {
    let mut xml = Xml::default();
    xml.within("Error", |xml| {
        xml.text("Type", at_fault);
        xml.text("Code", code);
        xml.text("Message", message);
    });
    xml.text("RequestId", request_id);
    format!("<ErrorResponse xmlns=\"{namespace}\">{}</ErrorResponse>", xml.0)
}

/// A moment, to the second, as AWS writes it.
pub(super) fn moment(at: Millis) -> String {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(at.div_euclid(1000));
    at.format(&Rfc3339).unwrap_or_default()
}
