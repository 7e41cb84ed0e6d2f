//! Records of the answer.

use std::borrow::Cow;

use super::MAX_RECORD;
use super::error::{Result, over_max_record};
use super::options::{CsvOutput, Output};
use super::value::{Value, write_json_string};

/// Writes records into a buffer.
#[derive(Debug)]
pub(super) struct Writer {
    output: Output,
    text: String,
    /// Where the record that is being written begins.
    record: usize,
    /// Whether it has a field already.
    any: bool,
    /// The field as it is, before it is quoted.
    field: String,
}

impl Writer {
    pub(super) fn new(output: Output) -> Self {
        let output = match output {
            // Fields that must be in quotes have none that could be written: as a null character S3's clients know them.
            Output::Csv(options) if options.quote.is_empty() => {
                Output::Csv(CsvOutput { quote: "\0".into(), ..options })
            }
            output => output,
        };
        Self { output, text: String::new(), record: 0, any: false, field: String::new() }
    }

    /// Bytes that were written and not taken.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes what was written.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.record = 0;
        std::mem::take(&mut self.text).into_bytes()
    }

    pub(super) fn begin(&mut self) {
        self.record = self.text.len();
        self.any = false;
        if matches!(self.output, Output::Json { .. }) {
            self.text.push('{');
        }
    }

    pub(super) fn field(&mut self, name: &str, value: &Value) -> Result<()> {
        match &self.output {
            Output::Json { .. } => {
                if matches!(value, Value::Missing) {
                    return Ok(());
                }
                if self.any {
                    self.text.push(',');
                }
                write_json_string(name, &mut self.text);
                self.text.push(':');
                value.write_json(&mut self.text);
            }
            Output::Csv(options) => {
                if self.any {
                    self.text.push_str(&options.field_delimiter);
                }
                let field: &str = match value {
                    Value::String(text) => text,
                    other => {
                        self.field.clear();
                        other.write_text(&mut self.field);
                        &self.field
                    }
                };
                if options.quote_always || must_quote(field, options) {
                    self.text.push_str(&options.quote);
                    self.text.push_str(&escaped(field, options));
                    self.text.push_str(&options.quote);
                } else {
                    self.text.push_str(field);
                }
            }
        }
        self.any = true;
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.text.len() - self.record > MAX_RECORD { Err(over_max_record()) } else { Ok(()) }
    }

    pub(super) fn end(&mut self) {
        match &self.output {
            Output::Json { record_delimiter } => {
                self.text.push('}');
                self.text.push_str(record_delimiter);
            }
            Output::Csv(options) => self.text.push_str(&options.record_delimiter),
        }
    }
}

fn must_quote(field: &str, options: &CsvOutput) -> bool {
    field.contains(options.field_delimiter.as_str())
        || field.contains(options.record_delimiter.as_str())
        || field.contains(options.quote.as_str())
        || field.contains(['\n', '\r'])
}

fn escaped<'a>(field: &'a str, options: &CsvOutput) -> Cow<'a, str> {
    let CsvOutput { quote, escape, .. } = options;
    if !field.contains(quote.as_str()) && (escape == quote || escape.is_empty() || !field.contains(escape.as_str())) {
        return Cow::Borrowed(field);
    }
    // An escape character that is no quote escapes itself as well, or what it stands before could not be told.
    let itself = if escape == quote || escape.is_empty() {
        Cow::Borrowed(field)
    } else {
        Cow::Owned(field.replace(escape.as_str(), &format!("{escape}{escape}")))
    };
    Cow::Owned(itself.replace(quote.as_str(), &format!("{escape}{quote}")))
}
