//! What an expression comes to for a row.
//!
//! Logic has three values: what is compared with null or with what is missing is neither true nor false.
//!
//! Source: "Operators" and "SQL functions" in the Amazon S3 user guide's SQL reference for S3 Select.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::MAX_RECORD;
use super::error::{Result, fail, over_max_record, refused};
use super::like::Pattern;
use super::row::Row;
use super::syntax::{Comparison, Expr, Function, Operator, Path, Step, Trim};
use super::timestamp::Timestamp;
use super::value::{Value, cast_failed, concatenate};

/// What expressions may refer to besides their row.
#[derive(Debug)]
pub(super) struct Scope {
    /// `UTCNOW()`: one instant for the whole query.
    pub(super) now: Timestamp,
    /// What the aggregates came to.
    pub(super) aggregates: Vec<Value>,
}

type Cowed<'a> = Cow<'a, Value>;

fn owned<'a>(value: Value) -> Result<Cowed<'a>> {
    Ok(Cow::Owned(value))
}

fn truth<'a>(value: Option<bool>) -> Result<Cowed<'a>> {
    owned(value.map_or(Value::Null, Value::Bool))
}

/// Whether a row passes a filter.
pub(super) fn passes(expr: &Expr, row: &Row, scope: &Scope) -> Result<bool> {
    Ok(condition(expr, row, scope)? == Some(true))
}

/// True, false or neither.
fn condition(expr: &Expr, row: &Row, scope: &Scope) -> Result<Option<bool>> {
    let value = evaluate(expr, row, scope)?;
    Ok(match &*value {
        Value::Bool(value) => Some(*value),
        Value::Missing | Value::Null => None,
        // A CSV file has `true` only as text.
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => return fail("EvaluatorInvalidArguments", "A condition in the SQL expression is neither true nor false."),
    })
}

/// The value of an expression.
pub(super) fn evaluate<'a>(expr: &'a Expr, row: &'a Row, scope: &'a Scope) -> Result<Cowed<'a>> {
    let value = |expr: &'a Expr| evaluate(expr, row, scope);
    match expr {
        Expr::Literal(value) => Ok(Cow::Borrowed(value)),
        Expr::Path(path) => Ok(follow(path, row)),
        Expr::Aggregate(number) => Ok(scope.aggregates.get(*number).map_or(Cow::Owned(Value::Null), Cow::Borrowed)),
        Expr::Negate(of) => match &*value(of)? {
            absent if absent.is_absent() => owned(Value::Null),
            other => owned(other.number().ok_or_else(cast_failed)?.negate()?.value()),
        },
        Expr::Not(of) => truth(condition(of, row, scope)?.map(|value| !value)),
        Expr::And(list) => truth(all(list, row, scope, true)?),
        Expr::Or(list) => truth(all(list, row, scope, false)?),
        Expr::Chain(first, rest) => {
            let mut result = value(first)?;
            for (operator, expr) in rest {
                let right = value(expr)?;
                result = Cow::Owned(match operator {
                    Operator::Concatenate => concatenate(result.into_owned(), &right)?,
                    _ if result.is_absent() || right.is_absent() => Value::Null,
                    Operator::Arithmetic(operator) => {
                        let (Some(a), Some(b)) = (result.number(), right.number()) else { return Err(cast_failed()) };
                        a.calculate(*operator, b)?.value()
                    }
                });
            }
            Ok(result)
        }
        Expr::Compare(comparison, a, b) => truth(compare(*comparison, &*value(a)?, &*value(b)?)),
        Expr::Like { of, pattern, escape, negated } => {
            let (of, pattern) = (value(of)?, value(pattern)?);
            let escape = escape.as_deref().map(value).transpose()?;
            if of.is_absent() || pattern.is_absent() || escape.as_ref().is_some_and(|escape| escape.is_absent()) {
                return owned(Value::Null);
            }
            let (Value::String(of), Value::String(pattern)) = (&*of, &*pattern) else {
                return fail("LikeInvalidInputs", "LIKE takes text only.");
            };
            let escape = match escape.as_deref() {
                None => None,
                Some(Value::String(text)) if text.chars().count() == 1 => text.chars().next(),
                Some(_) => return fail("LikeInvalidInputs", "ESCAPE takes a single character."),
            };
            truth(Some(Pattern::new(pattern, escape)?.matches(of) != *negated))
        }
        Expr::Between { of, low, high, negated } => {
            let of = value(of)?;
            let above = compare(Comparison::GreaterOrEqual, &of, &*value(low)?);
            let below = compare(Comparison::LessOrEqual, &of, &*value(high)?);
            let between = match (above, below) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            truth(between.map(|between| between != *negated))
        }
        Expr::In { of, list, negated } => {
            let of = value(of)?;
            let mut found = Some(false);
            for item in list {
                match (of.equals(&*value(item)?), found) {
                    (Some(true), _) => {
                        found = Some(true);
                        break;
                    }
                    (None, _) => found = None,
                    (Some(false), _) => {}
                }
            }
            truth(found.map(|found| found != *negated))
        }
        // What is missing is null as well.
        Expr::IsNull { of, negated } => truth(Some(value(of)?.is_absent() != *negated)),
        Expr::IsMissing { of, negated } => truth(Some(matches!(*value(of)?, Value::Missing) != *negated)),
        Expr::Case { of, branches, otherwise } => {
            let of = of.as_deref().map(value).transpose()?;
            for (when, then) in branches {
                let taken = match &of {
                    Some(of) => of.equals(&*value(when)?) == Some(true),
                    None => condition(when, row, scope)? == Some(true),
                };
                if taken {
                    return value(then);
                }
            }
            otherwise.as_deref().map_or(Ok(Cow::Owned(Value::Null)), value)
        }
        Expr::Cast(of, to) => owned(value(of)?.cast(*to)?),
        Expr::Call(function, list) => call(*function, list, row, scope),
        Expr::Trim { side, chars, of } => {
            let chars = chars.as_deref().map(value).transpose()?;
            let of = value(of)?;
            let chars = match chars.as_deref() {
                None => Some(" ".into()),
                Some(chars) => chars.text(),
            };
            let (Some(chars), Some(text)) = (chars, of.text()) else { return owned(Value::Null) };
            // A set, as there may be a megabyte of each.
            let set: std::collections::HashSet<char> = chars.chars().collect();
            let out = |char: char| set.contains(&char);
            let trimmed = match side {
                Trim::Leading => text.trim_start_matches(out),
                Trim::Trailing => text.trim_end_matches(out),
                Trim::Both => text.trim_matches(out),
            };
            owned(Value::String(trimmed.to_owned()))
        }
        Expr::DateAdd(part, count, at) => {
            let (count, at) = (value(count)?, value(at)?);
            if count.is_absent() || at.is_absent() {
                return owned(Value::Null);
            }
            let count = count.number().and_then(|count| count.int()).ok_or_else(|| {
                refused("EvaluatorInvalidArguments", "Incorrect argument of DATE_ADD: a whole number is expected.")
            })?;
            owned(Value::Timestamp(Box::new(timestamp(&at)?.add(*part, count)?)))
        }
        Expr::DateDiff(part, from, to) => {
            let (from, to) = (value(from)?, value(to)?);
            if from.is_absent() || to.is_absent() {
                return owned(Value::Null);
            }
            owned(Value::Int(timestamp(&from)?.until(timestamp(&to)?, *part)?))
        }
        Expr::Extract(part, at) => match &*value(at)? {
            absent if absent.is_absent() => owned(Value::Null),
            at => owned(Value::Int(timestamp(at)?.extract(*part))),
        },
    }
}

/// All of `AND` (`neutral` is true) or `OR`.
fn all(list: &[Expr], row: &Row, scope: &Scope, neutral: bool) -> Result<Option<bool>> {
    let mut result = Some(neutral);
    for expr in list {
        match condition(expr, row, scope)? {
            Some(value) if value == neutral => {}
            Some(value) => return Ok(Some(value)),
            None => result = None,
        }
    }
    Ok(result)
}

fn compare(comparison: Comparison, a: &Value, b: &Value) -> Option<bool> {
    match comparison {
        Comparison::Equal => a.equals(b),
        Comparison::NotEqual => a.equals(b).map(|equal| !equal),
        Comparison::Less => a.compare(b).map(Ordering::is_lt),
        Comparison::LessOrEqual => a.compare(b).map(Ordering::is_le),
        Comparison::Greater => a.compare(b).map(Ordering::is_gt),
        Comparison::GreaterOrEqual => a.compare(b).map(Ordering::is_ge),
    }
}

fn follow<'a>(path: &Path, row: &'a Row) -> Cowed<'a> {
    let start = match &path.column {
        Some(name) => row.column(name).map(Cow::Borrowed),
        None => Some(row.whole()),
    };
    let Some(start) = start else { return Cow::Owned(Value::Missing) };
    if path.steps.is_empty() {
        return start;
    }
    match start {
        Cow::Borrowed(value) => walk(&path.steps, value).map_or(Cow::Owned(Value::Missing), Cow::Borrowed),
        Cow::Owned(value) => Cow::Owned(walk(&path.steps, &value).cloned().unwrap_or(Value::Missing)),
    }
}

fn walk<'a>(steps: &[Step], mut value: &'a Value) -> Option<&'a Value> {
    for step in steps {
        value = match (step, value) {
            (Step::Key(name), _) => value.member(&name.text, name.quoted)?,
            (Step::Index(index), Value::List(items)) => items.get(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

fn timestamp(value: &Value) -> Result<Timestamp> {
    let at = match value {
        Value::Timestamp(at) => Some(**at),
        Value::String(text) => Timestamp::parse(text.trim()),
        _ => None,
    };
    at.ok_or_else(|| {
        refused("EvaluatorInvalidArguments", "Incorrect argument of a date function: a timestamp is expected.")
    })
}

fn call<'a>(function: Function, list: &'a [Expr], row: &'a Row, scope: &'a Scope) -> Result<Cowed<'a>> {
    if function == Function::Coalesce {
        for expr in list {
            let value = evaluate(expr, row, scope)?;
            if !value.is_absent() {
                return Ok(value);
            }
        }
        return owned(Value::Null);
    }
    let argument = |number: usize| match list.get(number) {
        Some(expr) => evaluate(expr, row, scope),
        None => Ok(Cow::Owned(Value::Missing)),
    };
    let first = argument(0)?;
    match function {
        Function::UtcNow => return owned(Value::Timestamp(Box::new(scope.now))),
        Function::NullIf => {
            let second = argument(1)?;
            return if first.equals(&second) == Some(true) { owned(Value::Null) } else { Ok(first) };
        }
        _ if first.is_absent() => return owned(Value::Null),
        Function::ToTimestamp => {
            return owned(Value::Timestamp(Box::new(timestamp(&first)?)));
        }
        Function::ToString => {
            return match argument(1)?.text() {
                Some(pattern) if pattern.len() <= MAX_RECORD / 16 => {
                    owned(Value::String(timestamp(&first)?.format(&pattern)?))
                }
                Some(_) => Err(over_max_record()),
                None => owned(Value::Null),
            };
        }
        _ => {}
    }
    let Some(text) = first.text() else { return owned(Value::Null) };
    match function {
        Function::CharLength => owned(Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))),
        Function::Lower => owned(Value::String(text.to_lowercase())),
        Function::Upper => owned(Value::String(text.to_uppercase())),
        _ => {
            let count = |value: Cowed<'_>| match value.number().and_then(|number| number.int()) {
                Some(count) => Ok(Some(count)),
                None if value.is_absent() => Ok(None),
                None => {
                    fail("EvaluatorInvalidArguments", "Incorrect argument of SUBSTRING: a whole number is expected.")
                }
            };
            let Some(start) = count(argument(1)?)? else { return owned(Value::Null) };
            let length = match list.get(2) {
                None => None,
                Some(_) => match count(argument(2)?)? {
                    None => return owned(Value::Null),
                    length => length,
                },
            };
            if length.is_some_and(|length| length < 0) {
                return fail("EvaluatorInvalidArguments", "Incorrect argument of SUBSTRING: its length is negative.");
            }
            owned(Value::String(substring(&text, start, length)))
        }
    }
}

/// SQL's: positions begin at 1, and what lies before counts towards the length.
fn substring(text: &str, start: i64, length: Option<i64>) -> String {
    let end = length.map(|length| start.saturating_add(length).max(1));
    let skip = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
    let take = end.map_or(usize::MAX, |end| usize::try_from(end.saturating_sub(start.max(1))).unwrap_or(0));
    text.chars().skip(skip).take(take).collect()
}
