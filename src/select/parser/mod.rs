//! From tokens to a query.
//!
//! Our own: general SQL parsers know neither `IS MISSING` nor the paths behind `S3Object`, nest a chain of operators as deep as it is long,
//! and have one error where S3 has forty.
//!
//! Source: "SELECT command" and what follows it in the Amazon S3 user guide's SQL reference for S3 Select.

mod calls;
mod expression;

use super::error::{Result, fail, refused};
use super::lexer::{Token, tokens};
use super::syntax::{
    Aggregate, AggregateKind, Column, Comparison, Expr, Function, Name, Operator, Path, Projection, Query, Step, Trim,
};
use super::timestamp::DatePart;
use super::value::{Arithmetic, Type, Value};

/// Bytes of an expression at most, as S3 has it.
const MAX_EXPRESSION: usize = 256 << 10;
/// How deep expressions may be nested: each level costs stack where it is read, evaluated and dropped.
const MAX_DEPTH: usize = 64;
/// Columns of the answer at most.
const MAX_COLUMNS: usize = 10_000;

/// Words that are no names unless they are in quotes.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "except",
    "from",
    "group",
    "having",
    "in",
    "intersect",
    "is",
    "join",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "order",
    "select",
    "then",
    "union",
    "when",
    "where",
];

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Query> {
    if text.len() > MAX_EXPRESSION {
        let message = "The SQL expression is too long: The maximum byte-length for an SQL expression is 256 KB.";
        return fail("ExpressionTooLong", message);
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        alias: None,
        columns: Vec::new(),
        aggregates: Vec::new(),
        inside: false,
        whole: false,
    };
    parser.query()
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    alias: Option<Name>,
    columns: Vec<Name>,
    aggregates: Vec<Aggregate>,
    /// Whether what is read is inside of an aggregate function.
    inside: bool,
    /// Whether the row as a whole is asked for.
    whole: bool,
}

/// What a token is to a person.
fn shown(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("'{}'", name.text),
        Token::Literal(value) => format!("the literal '{}'", value.text().unwrap_or_else(|| "null".into())),
        Token::Symbol(symbol) => format!("'{symbol}'"),
        Token::End => "the end".into(),
    }
}

impl Parser {
    fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.next + ahead).map_or(&Token::End, |(token, _)| token)
    }

    fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    /// An error about the next token.
    fn wrong<T>(&self, code: &'static str, wanted: &str) -> Result<T> {
        let at = self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(_, at)| *at);
        fail(code, format!("{wanted} expected in the SQL expression at {at}, not {}.", shown(self.peek())))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if !name.quoted && name.is(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn need_word(&mut self, word: &str) -> Result<()> {
        if self.word(word) { Ok(()) } else { self.wrong("ParseExpectedKeyword", &word.to_ascii_uppercase()) }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        self.next += usize::from(found);
        found
    }

    fn need_symbol(&mut self, symbol: &str, code: &'static str) -> Result<()> {
        if self.symbol(symbol) { Ok(()) } else { self.wrong(code, &format!("'{symbol}'")) }
    }

    /// Whether the next token is a word that is no name.
    fn reserved(&self) -> bool {
        matches!(self.peek(), Token::Name(name) if !name.quoted && RESERVED.iter().any(|word| name.is(word)))
    }

    fn name(&mut self, code: &'static str) -> Result<Name> {
        match self.peek() {
            Token::Name(name) if !self.reserved() => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => self.wrong(code, "A name"),
        }
    }

    fn query(&mut self) -> Result<Query> {
        if matches!(self.peek(), Token::End) {
            return fail("ParseEmptySelect", "The SQL expression is empty.");
        }
        if !self.word("select") {
            return self.wrong("ParseUnexpectedToken", "SELECT");
        }
        if self.is_word("distinct") || self.is_word("all") {
            return self.unsupported();
        }
        if self.is_word("from") {
            return fail("ParseEmptySelect", "The SELECT list of the SQL expression is empty.");
        }
        // The alias of the object decides what names in the list are, so FROM is read first.
        let list = self.next;
        let from = self.find_from()?;
        self.next = from;
        let from = self.from()?;
        let after = self.next;
        self.next = list;
        let projection = self.list()?;
        if !self.word("from") {
            return self.wrong("ParseUnexpectedToken", "',' or FROM");
        }
        self.next = after;
        let filter = if self.word("where") {
            let aggregates = self.aggregates.len();
            let filter = self.expression()?;
            if self.aggregates.len() > aggregates {
                return fail("UnsupportedSqlStructure", "An aggregate function cannot stand in WHERE.");
            }
            Some(filter)
        } else {
            None
        };
        let limit = if self.word("limit") { Some(self.limit()?) } else { None };
        self.symbol(";");
        if !matches!(self.peek(), Token::End) {
            return self.unsupported();
        }
        let query = Query {
            from,
            filter,
            limit,
            aggregates: std::mem::take(&mut self.aggregates),
            columns: std::mem::take(&mut self.columns),
            whole: self.whole || matches!(projection, Projection::All),
            projection,
        };
        check_aggregates(&query)?;
        Ok(query)
    }

    /// What SQL has and S3 Select has not.
    fn unsupported<T>(&self) -> Result<T> {
        const KNOWN: [&str; 13] = [
            "group",
            "order",
            "having",
            "offset",
            "join",
            "inner",
            "left",
            "right",
            "cross",
            "union",
            "intersect",
            "except",
            "distinct",
        ];
        if KNOWN.iter().any(|word| self.is_word(word)) {
            let message = "We encountered an unsupported SQL structure. Check the SQL Reference.";
            return fail("UnsupportedSqlStructure", message);
        }
        self.wrong("ParseUnexpectedToken", "The end")
    }

    /// Where FROM is: the one outside of all parentheses.
    fn find_from(&self) -> Result<usize> {
        let mut open = 0_usize;
        for (at, (token, _)) in self.tokens.iter().enumerate().skip(self.next) {
            match token {
                Token::Symbol("(" | "[") => open += 1,
                Token::Symbol(")" | "]") => open = open.saturating_sub(1),
                // `s.from` is a member of that name.
                Token::Name(name) if open == 0 && !name.quoted && name.is("from") => {
                    let before = at.checked_sub(1).and_then(|before| self.tokens.get(before));
                    if !matches!(before, Some((Token::Symbol("."), _))) {
                        return Ok(at + 1);
                    }
                }
                _ => {}
            }
        }
        fail("ParseSelectMissingFrom", "The SQL expression has no FROM, or it is not behind the SELECT list.")
    }

    fn from(&mut self) -> Result<Vec<Step>> {
        let object = self.name("ParseUnexpectedToken")?;
        if !object.text.eq_ignore_ascii_case("s3object") {
            let message =
                "A column name or a path provided does not exist in the SQL expression: FROM must name S3Object.";
            return fail("EvaluatorBindingDoesNotExist", message);
        }
        let mut steps = self.steps(true)?;
        // The object as a whole is the bag of its documents: all of them is what it is without saying.
        if matches!(steps.first(), Some(Step::Each)) {
            steps.remove(0);
        }
        let named = self.word("as");
        let alias = if named || (matches!(self.peek(), Token::Name(_)) && !self.reserved()) {
            const JOINS: [&str; 6] = ["inner", "left", "right", "cross", "full", "natural"];
            if JOINS.iter().any(|word| self.is_word(word)) {
                return self.unsupported();
            }
            Some(self.name("ParseExpectedIdentForAlias")?)
        } else {
            // Without one the last step's name is it.
            steps.iter().rev().find_map(|step| match step {
                Step::Key(name) => Some(name.clone()),
                _ => None,
            })
        };
        if self.is_word("at") || self.is_word("by") {
            return self.unsupported();
        }
        if self.symbol(",") {
            return fail("MultipleDataSourcesUnsupported", "Multiple data sources are not supported.");
        }
        self.alias = Some(alias.unwrap_or(object));
        Ok(steps)
    }

    fn limit(&mut self) -> Result<u64> {
        match self.take() {
            Token::Literal(Value::Int(count)) => Ok(count.unsigned_abs()),
            Token::Symbol("-") => fail("EvaluatorNegativeLimit", "LIMIT must not be negative."),
            _ => {
                self.next -= 1;
                self.wrong("ParseExpectedNumber", "A number of rows")
            }
        }
    }

    fn list(&mut self) -> Result<Projection> {
        if self.symbol("*") {
            if matches!(self.peek(), Token::Symbol(",")) {
                let message = "Other expressions are not allowed in the SELECT list when '*' is used without dot notation \
                               in the SQL expression.";
                return fail("ParseAsteriskIsNotAloneInSelectList", message);
            }
            return Ok(Projection::All);
        }
        let whole = matches!((self.peek(), &self.alias), (Token::Name(name), Some(alias)) if name.is(&alias.text));
        if whole && matches!((self.peek_at(1), self.peek_at(2)), (Token::Symbol("."), Token::Symbol("*"))) {
            self.next += 3;
            return Ok(Projection::All);
        }
        let mut columns = Vec::new();
        loop {
            if matches!(self.peek(), Token::Symbol("*")) {
                let message = "Other expressions are not allowed in the SELECT list when '*' is used without dot notation \
                               in the SQL expression.";
                return fail("ParseAsteriskIsNotAloneInSelectList", message);
            }
            let expr = self.expression()?;
            let position = columns.len() + 1;
            let named = self.word("as");
            let name = if named || (matches!(self.peek(), Token::Name(_)) && !self.reserved()) {
                self.name("ParseExpectedIdentForAlias")?.text
            } else {
                match &expr {
                    Expr::Path(Path { column, steps }) => match (steps.last(), column) {
                        (Some(Step::Key(name)), _) | (None, Some(name)) => name.text.clone(),
                        (None, None) => self.alias.as_ref().map_or_else(String::new, |alias| alias.text.clone()),
                        _ => format!("_{position}"),
                    },
                    _ => format!("_{position}"),
                }
            };
            columns.push(Column { expr, name });
            if columns.len() > MAX_COLUMNS {
                return fail(
                    "OverMaxColumn",
                    "The number of columns in the result is greater than the maximum allowable.",
                );
            }
            if !self.symbol(",") {
                return Ok(Projection::Columns(columns));
            }
        }
    }

    fn steps(&mut self, with_each: bool) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.symbol(".") {
                match self.take() {
                    Token::Name(name) => steps.push(Step::Key(name)),
                    _ => {
                        self.next -= 1;
                        return self.wrong("ParseInvalidPathComponent", "A name");
                    }
                }
            } else if self.symbol("[") {
                let step = match self.take() {
                    Token::Literal(Value::Int(index)) => usize::try_from(index).ok().map(Step::Index),
                    Token::Literal(Value::String(text)) => Some(Step::Key(Name { text, quoted: true })),
                    Token::Symbol("*") if with_each => Some(Step::Each),
                    _ => None,
                };
                let Some(step) = step else {
                    self.next -= 1;
                    return self.wrong("ParseInvalidPathComponent", "An index");
                };
                steps.push(step);
                self.need_symbol("]", "ParseExpectedTokenType")?;
            } else {
                return Ok(steps);
            }
            if steps.len() > MAX_DEPTH {
                return too_deep();
            }
        }
    }
}

fn too_deep<T>() -> Result<T> {
    fail("UnsupportedSqlStructure", "The SQL expression is nested too deeply.")
}

fn one_or(mut all: Vec<Expr>, make: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => one,
        (last, _) => {
            all.extend(last);
            make(all)
        }
    }
}

/// Where there are aggregates, nothing outside of them may depend on a row.
fn check_aggregates(query: &Query) -> Result<()> {
    if query.aggregates.is_empty() {
        return Ok(());
    }
    match &query.projection {
        Projection::Columns(columns) if !columns.iter().any(|column| depends_on_row(&column.expr)) => Ok(()),
        _ => fail(
            "UnsupportedSqlStructure",
            "Aggregate functions and columns cannot stand side by side without GROUP BY.",
        ),
    }
}

fn depends_on_row(expr: &Expr) -> bool {
    let any = |list: &[Expr]| list.iter().any(depends_on_row);
    let some = |expr: &Option<Box<Expr>>| expr.as_deref().is_some_and(depends_on_row);
    match expr {
        Expr::Literal(_) | Expr::Aggregate(_) => false,
        Expr::Path(_) => true,
        Expr::Negate(of) | Expr::Not(of) | Expr::Cast(of, _) | Expr::Extract(_, of) => depends_on_row(of),
        Expr::And(list) | Expr::Or(list) | Expr::Call(_, list) => any(list),
        Expr::Chain(first, rest) => depends_on_row(first) || rest.iter().any(|(_, expr)| depends_on_row(expr)),
        Expr::Compare(_, a, b) | Expr::DateAdd(_, a, b) | Expr::DateDiff(_, a, b) => {
            depends_on_row(a) || depends_on_row(b)
        }
        Expr::Like { of, pattern, escape, .. } => depends_on_row(of) || depends_on_row(pattern) || some(escape),
        Expr::Between { of, low, high, .. } => depends_on_row(of) || depends_on_row(low) || depends_on_row(high),
        Expr::In { of, list, .. } => depends_on_row(of) || any(list),
        Expr::IsNull { of, .. } | Expr::IsMissing { of, .. } => depends_on_row(of),
        Expr::Case { of, branches, otherwise } => {
            some(of)
                || some(otherwise)
                || branches.iter().any(|(when, then)| depends_on_row(when) || depends_on_row(then))
        }
        Expr::Trim { chars, of, .. } => some(chars) || depends_on_row(of),
    }
}

#[cfg(test)]
mod tests;
