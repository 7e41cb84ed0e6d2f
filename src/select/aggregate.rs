//! `AVG`, `COUNT`, `MAX`, `MIN` and `SUM`, as rows come.
//!
//! Source: "Aggregate functions" in the Amazon S3 user guide's SQL reference for S3 Select.

use rust_decimal::Decimal;

use super::error::Result;
use super::syntax::AggregateKind;
use super::value::{Arithmetic, Number, Value, cast_failed};

/// What came so far.
#[derive(Debug)]
pub(super) struct Accumulator {
    kind: AggregateKind,
    count: i64,
    sum: Option<Number>,
    extreme: Value,
}

impl Accumulator {
    pub(super) fn new(kind: AggregateKind) -> Self {
        Self { kind, count: 0, sum: None, extreme: Value::Null }
    }

    /// Counts a row, for `COUNT(*)`.
    pub(super) fn count_row(&mut self) {
        self.count += 1;
    }

    /// Takes the value of a row; absent ones are as if there were no row.
    pub(super) fn add(&mut self, value: &Value) -> Result<()> {
        if value.is_absent() {
            return Ok(());
        }
        self.count += 1;
        match self.kind {
            AggregateKind::Count => {}
            AggregateKind::Avg | AggregateKind::Sum => {
                let number = value.number().ok_or_else(cast_failed)?;
                self.sum = Some(match self.sum {
                    None => number,
                    Some(sum) => sum.calculate(Arithmetic::Add, number)?,
                });
            }
            AggregateKind::Max | AggregateKind::Min => {
                let value = match value {
                    Value::Timestamp(_) => value.clone(),
                    other => other.number().ok_or_else(cast_failed)?.value(),
                };
                let better = match value.compare(&self.extreme) {
                    Some(order) => {
                        (self.kind == AggregateKind::Max && order.is_gt())
                            || (self.kind == AggregateKind::Min && order.is_lt())
                    }
                    None => self.extreme.is_absent(),
                };
                if better {
                    self.extreme = value;
                }
            }
        }
        Ok(())
    }

    /// What it comes to.
    pub(super) fn finish(self) -> Result<Value> {
        Ok(match self.kind {
            AggregateKind::Count => Value::Int(self.count),
            AggregateKind::Max | AggregateKind::Min => self.extreme,
            AggregateKind::Sum => self.sum.map_or(Value::Null, Number::value),
            AggregateKind::Avg => match self.sum {
                None => Value::Null,
                Some(sum) => {
                    let exact = match sum {
                        Number::Int(sum) => Number::Decimal(sum.into()),
                        other => other,
                    };
                    let average = exact.calculate(Arithmetic::Divide, Number::Decimal(Decimal::from(self.count)))?;
                    match average {
                        Number::Decimal(average) => Value::Decimal(average.normalize()),
                        other => other.value(),
                    }
                }
            },
        })
    }
}
