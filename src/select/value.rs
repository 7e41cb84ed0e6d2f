//! Values, and what the operators do with them.
//!
//! Source: "Data types" and "Operators" in the Amazon S3 user guide's SQL reference for S3 Select. Text becomes a number where it meets one:
//! all that a CSV file has is text, and S3 wants it cast or takes it as it looks.

use std::cmp::Ordering;
use std::fmt::Write as _;

use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};

use super::MAX_RECORD;
use super::error::{Result, over_max_record, refused};
use super::timestamp::Timestamp;

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// There is nothing of that name.
    Missing,
    /// It is there, and null.
    Null,
    /// `BOOL`.
    Bool(bool),
    /// `INT`, `INTEGER`.
    Int(i64),
    /// `FLOAT`.
    Float(f64),
    /// `DECIMAL`, `NUMERIC`; up to 28 digits, others are floats.
    Decimal(Decimal),
    /// `STRING`.
    String(String),
    /// `TIMESTAMP`.
    Timestamp(Box<Timestamp>),
    /// An array.
    List(Vec<Value>),
    /// An object, its members in order.
    Struct(Vec<(String, Value)>),
}

/// A number, of the kinds that arithmetic knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    Decimal(Decimal),
}

/// `+`, `-`, `*`, `/`, `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// What a value is cast to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Float,
    /// Digits, and how many of them behind the point, if said.
    Decimal(Option<(u32, u32)>),
    String,
    Timestamp,
}

impl Value {
    /// Null or missing.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Null | Self::Missing)
    }

    /// The number that this is, or that its text is.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(n) => Some(Number::Int(*n)),
            Self::Float(n) => Some(Number::Float(*n)),
            Self::Decimal(n) => Some(Number::Decimal(*n)),
            Self::String(text) => Number::parse(text.trim()),
            _ => None,
        }
    }

    /// How this and another compare; `None` if one is absent or they are of kinds that do not.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::String(a), Self::String(b)) => Some(a.as_str().cmp(b.as_str())),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.partial_cmp(b),
            (Self::Timestamp(a), Self::String(b)) => (**a).partial_cmp(&Timestamp::parse(b)?),
            (Self::String(a), Self::Timestamp(b)) => Timestamp::parse(a)?.partial_cmp(b),
            (Self::Bool(a), Self::String(b)) => Some(a.cmp(&parse_bool(b)?)),
            (Self::String(a), Self::Bool(b)) => Some(parse_bool(a)?.cmp(b)),
            _ => self.number()?.compare(other.number()?),
        }
    }

    /// Whether this and another are equal; `None` if one is absent. Values of different kinds are not.
    pub(super) fn equals(&self, other: &Self) -> Option<bool> {
        if self.is_absent() || other.is_absent() {
            return None;
        }
        Some(match (self, other) {
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Struct(a), Self::Struct(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((n, a), (m, b))| n == m && a.same(b))
            }
            _ => self.compare(other) == Some(Ordering::Equal),
        })
    }

    /// Equality inside of lists and objects, where null is null.
    fn same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Null, Self::Null)) || self.equals(other) == Some(true)
    }

    /// Text as the functions and CSV have it; absent values have none.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Missing | Self::Null => None,
            Self::String(text) => Some(text.clone()),
            other => {
                let mut text = String::new();
                other.write_text(&mut text);
                Some(text)
            }
        }
    }

    /// Appends the value as CSV has it: lists and objects are JSON, what is absent is nothing.
    pub(super) fn write_text(&self, out: &mut String) {
        // Writing to a string does not fail.
        _ = match self {
            Self::Missing | Self::Null => Ok(()),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Float(value) => write!(out, "{value:?}"),
            Self::Decimal(value) => write!(out, "{value}"),
            Self::String(text) => out.write_str(text),
            Self::Timestamp(at) => write!(out, "{at}"),
            Self::List(_) | Self::Struct(_) => {
                self.write_json(out);
                Ok(())
            }
        };
    }

    /// Appends the value as JSON has it.
    pub(super) fn write_json(&self, out: &mut String) {
        match self {
            Self::Missing | Self::Null => out.push_str("null"),
            // JSON has no such numbers.
            Self::Float(value) if !value.is_finite() => out.push_str("null"),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Decimal(_) => self.write_text(out),
            Self::String(text) => write_json_string(text, out),
            Self::Timestamp(at) => write_json_string(&at.to_string(), out),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Struct(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(name, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// `CAST`.
    pub(super) fn cast(&self, to: Type) -> Result<Self> {
        if self.is_absent() {
            return Ok(self.clone());
        }
        let cast = match to {
            Type::Bool => match self {
                Self::Bool(value) => Some(*value),
                Self::String(text) => parse_bool(text.trim()),
                other => other.number().map(|n| n.float() != 0.0),
            }
            .map(Self::Bool),
            Type::Int => match self {
                Self::Bool(value) => Some(i64::from(*value)),
                Self::String(text) => text.trim().parse().ok(),
                other => other.number().and_then(Number::int),
            }
            .map(Self::Int),
            Type::Float => match self {
                Self::Bool(value) => Some(f64::from(u8::from(*value))),
                Self::String(text) => parse_float(text.trim()),
                other => other.number().map(Number::float),
            }
            .map(Self::Float),
            Type::Decimal(digits) => match self {
                Self::Bool(value) => Some(Decimal::from(u8::from(*value))),
                other => other.number().and_then(Number::decimal),
            }
            .and_then(|value| fit(value, digits))
            .map(Self::Decimal),
            Type::String => self.text().map(Self::String),
            Type::Timestamp => match self {
                Self::Timestamp(_) => Some(self.clone()),
                Self::String(text) => Timestamp::parse(text.trim()).map(|at| Self::Timestamp(Box::new(at))),
                _ => None,
            },
        };
        cast.ok_or_else(cast_failed)
    }

    /// The value of a member of an object, whatever its case unless the name was quoted.
    pub(super) fn member(&self, name: &str, quoted: bool) -> Option<&Self> {
        let Self::Struct(members) = self else { return None };
        let exactly = members.iter().find(|(member, _)| member == name);
        let found = exactly.or_else(|| {
            if quoted { None } else { members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name)) }
        });
        found.map(|(_, value)| value)
    }
}

/// `||`. Appends to the text that `a` holds, so that a long chain costs no more than its length.
pub(super) fn concatenate(a: Value, b: &Value) -> Result<Value> {
    let a = match a {
        Value::String(text) => Some(text),
        other => other.text(),
    };
    let (Some(mut text), false) = (a, b.is_absent()) else { return Ok(Value::Null) };
    b.write_text(&mut text);
    // No field of the answer may be longer.
    if text.len() > MAX_RECORD {
        return Err(over_max_record());
    }
    Ok(Value::String(text))
}

pub(super) fn cast_failed() -> super::SelectError {
    refused("CastFailed", "Attempt to convert from one data type to another using CAST failed in the SQL expression.")
}

fn overflow() -> super::SelectError {
    refused("IntegerOverflow", "Int overflow or underflow in the SQL expression.")
}

fn fit(value: Decimal, digits: Option<(u32, u32)>) -> Option<Decimal> {
    let Some((precision, scale)) = digits else { return Some(value) };
    let value = value.round_dp(scale);
    let whole = value.trunc().mantissa().unsigned_abs().checked_ilog10().map_or(0, |log| log + 1);
    (whole + scale <= precision).then_some(value)
}

fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A float, but none of the words that Rust takes for one.
fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|_| !text.bytes().any(|b| b.is_ascii_alphabetic() && b != b'e' && b != b'E'))
}

impl Number {
    /// Reads a number: with an exponent it is a float, with a point or many digits a decimal.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        if !text.bytes().any(|b| b == b'e' || b == b'E')
            && let Ok(decimal) = Decimal::from_str_exact(text)
            && text.bytes().all(|b| b != b'_')
        {
            return Some(Self::Decimal(decimal));
        }
        parse_float(text).map(Self::Float)
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(n) => n,
            Self::Decimal(n) => n.to_f64().unwrap_or(f64::NAN),
        }
    }

    /// The whole part, if that is an `INT`.
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(n),
            // 2^63 is the first float that is none.
            Self::Float(n) => (n.trunc().abs() < 9_223_372_036_854_775_808.0).then_some(n as i64),
            Self::Decimal(n) => n.trunc().to_i64(),
        }
    }

    fn decimal(self) -> Option<Decimal> {
        match self {
            Self::Int(n) => Some(n.into()),
            Self::Float(n) => Decimal::from_f64(n),
            Self::Decimal(n) => Some(n),
        }
    }

    pub(super) fn value(self) -> Value {
        match self {
            Self::Int(n) => Value::Int(n),
            Self::Float(n) => Value::Float(n),
            Self::Decimal(n) => Value::Decimal(n),
        }
    }

    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(_), _) | (_, Self::Float(_)) => self.float().partial_cmp(&other.float()),
            _ => Some(self.decimal()?.cmp(&other.decimal()?)),
        }
    }

    pub(super) fn negate(self) -> Result<Self> {
        Ok(match self {
            Self::Int(n) => Self::Int(n.checked_neg().ok_or_else(overflow)?),
            Self::Float(n) => Self::Float(-n),
            Self::Decimal(n) => Self::Decimal(-n),
        })
    }

    pub(super) fn calculate(self, with: Arithmetic, other: Self) -> Result<Self> {
        use Arithmetic::{Add, Divide, Modulo, Multiply, Subtract};
        let zero = match other {
            Self::Int(n) => n == 0,
            Self::Float(_) => false,
            Self::Decimal(n) => n.is_zero(),
        };
        if zero && matches!(with, Divide | Modulo) && !matches!(self, Self::Float(_)) {
            return Err(refused(
                "ExternalEvalException",
                "The query cannot be evaluated: there is a division by zero.",
            ));
        }
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            let result = match with {
                Add => a.checked_add(b),
                Subtract => a.checked_sub(b),
                Multiply => a.checked_mul(b),
                Divide => a.checked_div(b),
                Modulo => a.checked_rem(b),
            };
            return result.map(Self::Int).ok_or_else(overflow);
        }
        if !matches!((self, other), (Self::Float(_), _) | (_, Self::Float(_)))
            && let (Some(a), Some(b)) = (self.decimal(), other.decimal())
        {
            let result = match with {
                Add => a.checked_add(b),
                Subtract => a.checked_sub(b),
                Multiply => a.checked_mul(b),
                Divide => a.checked_div(b),
                Modulo => a.checked_rem(b),
            };
            if let Some(result) = result {
                return Ok(Self::Decimal(result));
            }
        }
        let (a, b) = (self.float(), other.float());
        Ok(Self::Float(match with {
            Add => a + b,
            Subtract => a - b,
            Multiply => a * b,
            Divide => a / b,
            Modulo => a % b,
        }))
    }
}

/// Appends a JSON string.
pub(super) fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        if escape.is_empty() {
            _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain = at + 1;
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(value: &str) -> Value {
        Value::String(value.into())
    }

    #[test]
    fn numbers_keep_their_kind() {
        for (given, shown) in [
            ("1", "1"),
            ("-3", "-3"),
            ("1.50", "1.50"),
            ("1e2", "100.0"),
            ("9223372036854775808", "9223372036854775808"),
            ("1234567890123456789012345678901234567890", "1.2345678901234568e39"),
        ] {
            assert_eq!(Number::parse(given).unwrap().value().text().unwrap(), shown);
        }
        for given in ["", "x", "1_000.0", "inf", "NaN", "infinity", "1.2.3", "--1"] {
            assert!(Number::parse(given).is_none(), "{given}");
        }
    }

    #[test]
    fn arithmetic_is_exact_where_it_can_be() {
        let calculate = |a: &str, with, b: &str| {
            Number::parse(a).unwrap().calculate(with, Number::parse(b).unwrap()).map(|n| n.value().text().unwrap())
        };
        assert_eq!(calculate("0.1", Arithmetic::Add, "0.2").unwrap(), "0.3");
        assert_eq!(calculate("7", Arithmetic::Divide, "2").unwrap(), "3");
        assert_eq!(calculate("7", Arithmetic::Divide, "2.0").unwrap(), "3.5");
        assert_eq!(calculate("7", Arithmetic::Modulo, "4").unwrap(), "3");
        assert_eq!(calculate("1e0", Arithmetic::Add, "1").unwrap(), "2.0");
        assert!(calculate("9223372036854775807", Arithmetic::Add, "1").is_err());
        assert!(calculate("-9223372036854775808", Arithmetic::Divide, "-1").is_err());
        assert!(calculate("1", Arithmetic::Divide, "0").is_err());
        assert!(calculate("1.5", Arithmetic::Modulo, "0").is_err());
    }

    #[test]
    fn text_meets_numbers_as_one() {
        assert_eq!(text("10").compare(&Value::Int(9)), Some(Ordering::Greater));
        assert_eq!(text("10").compare(&text("9")), Some(Ordering::Less));
        assert_eq!(text("x").equals(&Value::Int(9)), Some(false));
        assert_eq!(text("x").compare(&Value::Int(9)), None);
        assert_eq!(Value::Null.equals(&Value::Null), None);
    }

    #[test]
    fn casts_are_those_of_the_reference() {
        let cast = |value: Value, to| value.cast(to).map(|v| v.text().unwrap());
        assert_eq!(cast(text(" 13"), Type::Int).unwrap(), "13");
        assert_eq!(cast(Value::Float(-13.9), Type::Int).unwrap(), "-13");
        assert_eq!(cast(Value::Int(3), Type::Float).unwrap(), "3.0");
        assert_eq!(cast(text("14.345"), Type::Decimal(Some((4, 2)))).unwrap(), "14.34");
        assert_eq!(cast(text("TRUE"), Type::Bool).unwrap(), "true");
        assert_eq!(cast(text("2007T"), Type::Timestamp).unwrap(), "2007T");
        assert!(cast(text("114.3"), Type::Decimal(Some((4, 2)))).is_err());
        assert!(cast(text("13.0"), Type::Int).is_err());
        assert!(cast(text(""), Type::Int).is_err());
        assert!(cast(Value::Float(1e300), Type::Int).is_err());
        assert!(cast(Value::Float(f64::NAN), Type::Int).is_err());
        assert!(cast(text("yes"), Type::Bool).is_err());
        assert!(matches!(Value::Null.cast(Type::Int), Ok(Value::Null)));
    }

    #[test]
    fn json_strings_are_escaped() {
        let mut out = String::new();
        write_json_string("a\"\\\n\u{1}ع", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001ع\"");
    }
}
