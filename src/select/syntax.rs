//! What an SQL expression is once it is read.

use super::timestamp::DatePart;
use super::value::{Arithmetic, Type, Value};

/// A name, and whether it was in double quotes: then its case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) quoted: bool,
}

impl Name {
    pub(super) fn is(&self, other: &str) -> bool {
        if self.quoted { self.text == other } else { self.text.eq_ignore_ascii_case(other) }
    }

    /// `_1` and its like: which column, counted from zero.
    pub(super) fn position(&self) -> Option<usize> {
        self.text.strip_prefix('_')?.parse::<usize>().ok()?.checked_sub(1)
    }
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `.name` or `['name']`.
    Key(Name),
    /// `[3]`.
    Index(usize),
    /// `[*]`, in FROM alone.
    Each,
}

/// What an expression refers to: a way from the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// The column; `None`: the row as a whole, by its alias.
    pub(super) column: Option<Name>,
    pub(super) steps: Vec<Step>,
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Arithmetic(Arithmetic),
    /// `||`.
    Concatenate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    CharLength,
    Coalesce,
    Lower,
    NullIf,
    Substring,
    ToString,
    ToTimestamp,
    Upper,
    UtcNow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trim {
    Leading,
    Trailing,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateKind {
    Avg,
    Count,
    Max,
    Min,
    Sum,
}

/// An aggregate function; `of` is `None` for `COUNT(*)`.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) kind: AggregateKind,
    pub(super) of: Option<Expr>,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Literal(Value),
    Path(Path),
    /// The number of one of the query's aggregates.
    Aggregate(usize),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    /// Flat, as long chains of them are usual.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// Operators of one precedence, from left to right; flat as well.
    Chain(Box<Expr>, Vec<(Operator, Expr)>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Like {
        of: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
        negated: bool,
    },
    Between {
        of: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
    },
    In {
        of: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    IsNull {
        of: Box<Expr>,
        negated: bool,
    },
    IsMissing {
        of: Box<Expr>,
        negated: bool,
    },
    Case {
        of: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast(Box<Expr>, Type),
    Call(Function, Vec<Expr>),
    Trim {
        side: Trim,
        chars: Option<Box<Expr>>,
        of: Box<Expr>,
    },
    DateAdd(DatePart, Box<Expr>, Box<Expr>),
    DateDiff(DatePart, Box<Expr>, Box<Expr>),
    Extract(DatePart, Box<Expr>),
}

/// A column of the answer.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) expr: Expr,
    /// What it is called where the answer is JSON.
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) enum Projection {
    /// `*`.
    All,
    Columns(Vec<Column>),
}

/// A whole query.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) projection: Projection,
    /// The steps from the document to its rows.
    pub(super) from: Vec<Step>,
    pub(super) filter: Option<Expr>,
    pub(super) limit: Option<u64>,
    pub(super) aggregates: Vec<Aggregate>,
    /// The columns that are named anywhere.
    pub(super) columns: Vec<Name>,
    /// Whether all of them are asked for: by `*`, or by the row's own name.
    #[cfg_attr(not(feature = "select-parquet"), expect(dead_code, reason = "only Parquet can leave out columns"))]
    pub(super) whole: bool,
}
