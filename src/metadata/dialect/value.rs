//! What statements take and give: values, columns of values, rows.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, ColumnIndex, Decode, Row as _, Type};

use crate::metadata::{Error, Result};

/// One parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Int(i64),
    OptInt(Option<i64>),
    Float(f64),
    Text(&'a str),
    OptText(Option<&'a str>),
    Bytes(&'a [u8]),
}

macro_rules! value_from {
    ($($variant:ident($kind:ty)),*) => {
        $(impl<'a> From<$kind> for Value<'a> {
            fn from(value: $kind) -> Self {
                Self::$variant(value)
            }
        })*
    };
}
value_from!(Int(i64), OptInt(Option<i64>), Float(f64), Text(&'a str), OptText(Option<&'a str>), Bytes(&'a [u8]));

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}
impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}
impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(value)
    }
}

/// The parameters of a statement, `$1` and up.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::metadata::dialect::Value::from($value)),*]
    };
}
pub(crate) use values;

/// A column of a statement's `{input:…}`: many values of one type.
#[derive(Debug, Clone)]
pub(crate) enum Column<'a> {
    Ints(Vec<i64>),
    OptInts(Vec<Option<i64>>),
    OptFloats(Vec<Option<f64>>),
    Texts(Vec<&'a str>),
    OptTexts(Vec<Option<&'a str>>),
    Bytes(Vec<&'a [u8]>),
    OptBytes(Vec<Option<&'a [u8]>>),
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::OptInts(values) => values.len(),
            Self::OptFloats(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::OptTexts(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::OptBytes(values) => values.len(),
        }
    }

    /// PostgreSQL's name of the array.
    pub(super) fn array(&self) -> &'static str {
        match self {
            Self::Ints(_) | Self::OptInts(_) => "bigint[]",
            Self::OptFloats(_) => "double precision[]",
            Self::Texts(_) | Self::OptTexts(_) => "text[]",
            Self::Bytes(_) | Self::OptBytes(_) => "bytea[]",
        }
    }

    /// How SQLite gets the value at `index` of a row of the JSON that [`json`] makes.
    pub(super) fn extract(&self, index: usize) -> String {
        match self {
            Self::Bytes(_) | Self::OptBytes(_) => format!("unhex(value->>{index})"),
            _ => format!("value->>{index}"),
        }
    }

    fn json(&self, row: usize) -> serde_json::Value {
        match self {
            Self::Ints(values) => values.get(row).copied().into(),
            Self::OptInts(values) => values.get(row).copied().flatten().into(),
            Self::OptFloats(values) => values.get(row).copied().flatten().into(),
            Self::Texts(values) => values.get(row).copied().into(),
            Self::OptTexts(values) => values.get(row).copied().flatten().into(),
            Self::Bytes(values) => values.get(row).map(hex::encode).into(),
            Self::OptBytes(values) => values.get(row).copied().flatten().map(hex::encode).into(),
        }
    }
}

/// Columns as the JSON array of rows that SQLite unfolds.
fn json(columns: &[Column<'_>]) -> String {
    let rows = columns.iter().map(Column::len).max().unwrap_or(0);
    let rows: Vec<Vec<_>> = (0..rows).map(|row| columns.iter().map(|column| column.json(row)).collect()).collect();
    serde_json::Value::from(rows).to_string()
}

fn encode_error(error: sqlx::error::BoxDynError) -> Error {
    Error::Sql(sqlx::Error::Encode(error).into())
}

pub(super) fn postgres_arguments(values: &[Value<'_>], columns: &[Column<'_>]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        match *value {
            Value::Int(value) => arguments.add(value),
            Value::OptInt(value) => arguments.add(value),
            Value::Float(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::OptText(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(encode_error)?;
    }
    for column in columns {
        match column {
            Column::Ints(values) => arguments.add(values),
            Column::OptInts(values) => arguments.add(values),
            Column::OptFloats(values) => arguments.add(values),
            Column::Texts(values) => arguments.add(values),
            Column::OptTexts(values) => arguments.add(values),
            Column::Bytes(values) => arguments.add(values),
            Column::OptBytes(values) => arguments.add(values),
        }
        .map_err(encode_error)?;
    }
    Ok(arguments)
}

pub(super) fn sqlite_arguments<'a>(values: &[Value<'a>], columns: &[Column<'_>]) -> Result<SqliteArguments<'a>> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match *value {
            Value::Int(value) => arguments.add(value),
            Value::OptInt(value) => arguments.add(value),
            Value::Float(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::OptText(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(encode_error)?;
    }
    if !columns.is_empty() {
        arguments.add(json(columns)).map_err(encode_error)?;
    }
    Ok(arguments)
}

/// A row, with getters that name the column they could not read.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    fn get<'r, T>(&'r self, column: &str) -> Result<T>
    where
        T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres> + Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>,
        for<'c> &'c str: ColumnIndex<PgRow> + ColumnIndex<SqliteRow>,
    {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
        .map_err(|error| Error::Corrupt(format!("column {column}: {error}")))
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64> {
        self.get(column)
    }
    pub(crate) fn opt_int(&self, column: &str) -> Result<Option<i64>> {
        self.get(column)
    }
    pub(crate) fn float(&self, column: &str) -> Result<f64> {
        self.get(column)
    }
    pub(crate) fn opt_float(&self, column: &str) -> Result<Option<f64>> {
        self.get(column)
    }
    pub(crate) fn text(&self, column: &str) -> Result<String> {
        self.get(column)
    }
    pub(crate) fn opt_text(&self, column: &str) -> Result<Option<String>> {
        self.get(column)
    }
    pub(crate) fn bytes(&self, column: &str) -> Result<Vec<u8>> {
        self.get(column)
    }
    pub(crate) fn opt_bytes(&self, column: &str) -> Result<Option<Vec<u8>>> {
        self.get(column)
    }

    /// A number that is never negative, or does not fit.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T> {
        let value = self.int(column)?;
        T::try_from(value).map_err(|_| Error::Corrupt(format!("column {column} holds {value}")))
    }
    pub(crate) fn opt_number<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>> {
        let Some(value) = self.opt_int(column)? else { return Ok(None) };
        T::try_from(value).map(Some).map_err(|_| Error::Corrupt(format!("column {column} holds {value}")))
    }

    /// A key: bytes that are UTF-8.
    pub(crate) fn key(&self, column: &str) -> Result<String> {
        String::from_utf8(self.bytes(column)?).map_err(|_| Error::Corrupt(format!("column {column} is not UTF-8")))
    }

    /// A text that `T` can be read from.
    pub(crate) fn parse<T: std::str::FromStr>(&self, column: &str) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| Error::Corrupt(format!("column {column} holds {text:?}")))
    }
}
