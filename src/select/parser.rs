//! From tokens to a query.
//!
//! Our own: general SQL parsers know neither `IS MISSING` nor the paths behind `S3Object`, nest a chain of operators as deep as it is long,
//! and have one error where S3 has forty.
//!
//! Source: "SELECT command" and what follows it in the Amazon S3 user guide's SQL reference for S3 Select.

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

    /// Reads one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return too_deep();
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    fn boxed(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr>) -> Result<Box<Expr>> {
        read(self).map(Box::new)
    }

    fn expression(&mut self) -> Result<Expr> {
        self.deeper(|this| {
            let mut all = vec![this.conjunction()?];
            while this.word("or") {
                all.push(this.conjunction()?);
            }
            Ok(one_or(all, Expr::Or))
        })
    }

    fn conjunction(&mut self) -> Result<Expr> {
        let mut all = vec![self.negation()?];
        while self.word("and") {
            all.push(self.negation()?);
        }
        Ok(one_or(all, Expr::And))
    }

    fn negation(&mut self) -> Result<Expr> {
        if self.word("not") {
            return self.deeper(|this| Ok(Expr::Not(this.boxed(Self::negation)?)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr> {
        let left = self.sum()?;
        let comparison = match self.peek() {
            Token::Symbol("=") => Some(Comparison::Equal),
            Token::Symbol("<>" | "!=") => Some(Comparison::NotEqual),
            Token::Symbol("<") => Some(Comparison::Less),
            Token::Symbol("<=") => Some(Comparison::LessOrEqual),
            Token::Symbol(">") => Some(Comparison::Greater),
            Token::Symbol(">=") => Some(Comparison::GreaterOrEqual),
            _ => None,
        };
        if let Some(comparison) = comparison {
            self.next += 1;
            let right = self.boxed(Self::sum)?;
            return Ok(Expr::Compare(comparison, Box::new(left), right));
        }
        if self.word("is") {
            let negated = self.word("not");
            let of = Box::new(left);
            if self.word("null") {
                return Ok(Expr::IsNull { of, negated });
            }
            if self.word("missing") {
                return Ok(Expr::IsMissing { of, negated });
            }
            return self.wrong("ParseExpectedKeyword", "NULL or MISSING");
        }
        let negated = self.word("not");
        let of = Box::new(left);
        if self.word("like") {
            let pattern = self.boxed(Self::sum)?;
            let escape = if self.word("escape") { Some(self.boxed(Self::sum)?) } else { None };
            return Ok(Expr::Like { of, pattern, escape, negated });
        }
        if self.word("between") {
            let low = self.boxed(Self::sum)?;
            self.need_word("and")?;
            let high = self.boxed(Self::sum)?;
            return Ok(Expr::Between { of, low, high, negated });
        }
        if self.word("in") {
            let close = match self.peek() {
                Token::Symbol("(") => ")",
                Token::Symbol("[") => "]",
                _ => return self.wrong("ParseExpectedLeftParenValueConstructor", "'('"),
            };
            self.next += 1;
            let list = self.arguments(close)?;
            return Ok(Expr::In { of, list, negated });
        }
        if negated { self.wrong("ParseExpectedKeyword", "LIKE, BETWEEN or IN") } else { Ok(*of) }
    }

    /// Expressions with commas between, up to `close`, which is taken.
    fn arguments(&mut self, close: &str) -> Result<Vec<Expr>> {
        let mut list = Vec::new();
        if self.symbol(close) {
            return Ok(list);
        }
        loop {
            list.push(self.expression()?);
            if self.symbol(close) {
                return Ok(list);
            }
            if !self.symbol(",") {
                return self.wrong("ParseExpectedArgumentDelimiter", "','");
            }
        }
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(Self::product, |symbol| match symbol {
            "+" => Some(Operator::Arithmetic(Arithmetic::Add)),
            "-" => Some(Operator::Arithmetic(Arithmetic::Subtract)),
            "||" => Some(Operator::Concatenate),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Expr> {
        self.chain(Self::unary, |symbol| match symbol {
            "*" => Some(Operator::Arithmetic(Arithmetic::Multiply)),
            "/" => Some(Operator::Arithmetic(Arithmetic::Divide)),
            "%" => Some(Operator::Arithmetic(Arithmetic::Modulo)),
            _ => None,
        })
    }

    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Expr>,
        operator: fn(&str) -> Option<Operator>,
    ) -> Result<Expr> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Token::Symbol(symbol) = self.peek()
            && let Some(operator) = operator(symbol)
        {
            self.next += 1;
            rest.push((operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Expr> {
        if self.symbol("-") {
            return self.deeper(|this| Ok(Expr::Negate(this.boxed(Self::unary)?)));
        }
        if self.symbol("+") {
            return self.deeper(Self::unary);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr> {
        match self.peek() {
            Token::Literal(value) => {
                let value = value.clone();
                self.next += 1;
                Ok(Expr::Literal(value))
            }
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.need_symbol(")", "ParseExpectedTokenType")?;
                Ok(inner)
            }
            Token::Symbol("*") => {
                fail("ParseInvalidContextForWildcardInSelectList", "'*' stands where an expression is expected.")
            }
            Token::Name(name) if !name.quoted => {
                let name = name.clone();
                self.unquoted(name)
            }
            Token::Name(_) => self.path(),
            _ => self.wrong("ParseUnexpectedToken", "An expression"),
        }
    }

    fn unquoted(&mut self, name: Name) -> Result<Expr> {
        let call = matches!(self.peek_at(1), Token::Symbol("("));
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
            ("missing", Value::Missing),
        ] {
            if name.is(word) && !call {
                self.next += 1;
                return Ok(Expr::Literal(value));
            }
        }
        if name.is("case") {
            self.next += 1;
            return self.deeper(Self::case);
        }
        if name.is("cast") {
            self.next += 1;
            return self.deeper(Self::cast);
        }
        if self.reserved() {
            return self.wrong("ParseUnExpectedKeyword", "An expression");
        }
        if call {
            self.next += 2;
            return self.call(&name);
        }
        self.path()
    }

    fn path(&mut self) -> Result<Expr> {
        let first = self.name("ParseUnexpectedToken")?;
        let mut steps = self.steps(false)?;
        let whole = self.alias.as_ref().is_some_and(|alias| first.is(&alias.text) || alias.is(&first.text));
        let column = if whole {
            match steps.first() {
                Some(Step::Key(_)) => match steps.remove(0) {
                    Step::Key(name) => Some(name),
                    _ => None,
                },
                _ => None,
            }
        } else {
            Some(first)
        };
        self.whole |= column.is_none();
        if let Some(name) = &column
            && !self.columns.contains(name)
        {
            if self.columns.len() >= MAX_COLUMNS {
                return fail("OverMaxColumn", "The SQL expression names more columns than an object may have.");
            }
            self.columns.push(name.clone());
        }
        Ok(Expr::Path(Path { column, steps }))
    }

    fn case(&mut self) -> Result<Expr> {
        let of = if self.is_word("when") { None } else { Some(Box::new(self.expression()?)) };
        let mut branches = Vec::new();
        while self.word("when") {
            let when = self.expression()?;
            self.need_word("then")?;
            branches.push((when, self.expression()?));
        }
        if branches.is_empty() {
            return self.wrong("ParseExpectedWhenClause", "WHEN");
        }
        let otherwise = if self.word("else") { Some(Box::new(self.expression()?)) } else { None };
        self.need_word("end")?;
        Ok(Expr::Case { of, branches, otherwise })
    }

    fn cast(&mut self) -> Result<Expr> {
        self.need_symbol("(", "ParseExpectedLeftParenAfterCast")?;
        let of = self.boxed(Self::expression)?;
        self.need_word("as")?;
        let Token::Name(name) = self.peek().clone() else {
            return self.wrong("ParseExpectedTypeName", "The name of a type");
        };
        let kind = match name.text.to_ascii_lowercase().as_str() {
            "bool" | "boolean" => Type::Bool,
            "int" | "integer" | "bigint" | "smallint" => Type::Int,
            "float" | "real" | "double" => Type::Float,
            "decimal" | "numeric" => Type::Decimal(None),
            "string" | "varchar" | "char" => Type::String,
            "timestamp" => Type::Timestamp,
            _ => return self.wrong("ParseExpectedTypeName", "The name of a type"),
        };
        self.next += 1;
        let kind = match kind {
            Type::Decimal(_) if self.symbol("(") => {
                let precision = self.digits()?;
                let scale = if self.symbol(",") { self.digits()? } else { 0 };
                self.need_symbol(")", "ParseExpectedTokenType")?;
                if precision == 0 || precision > 38 || scale > precision {
                    return fail("ParseInvalidTypeParam", "The SQL expression contains an invalid parameter value.");
                }
                Type::Decimal(Some((precision, scale)))
            }
            kind => kind,
        };
        self.need_symbol(")", "ParseExpectedTokenType")?;
        Ok(Expr::Cast(of, kind))
    }

    fn digits(&mut self) -> Result<u32> {
        match self.peek() {
            Token::Literal(Value::Int(number)) => {
                let number = u32::try_from(*number).map_err(|_| {
                    refused("ParseInvalidTypeParam", "The SQL expression contains an invalid parameter value.")
                })?;
                self.next += 1;
                Ok(number)
            }
            _ => self.wrong("ParseExpectedNumber", "A number"),
        }
    }

    /// A function, behind its parenthesis.
    fn call(&mut self, name: &Name) -> Result<Expr> {
        const RIGHT: &str = "ParseExpectedRightParenBuiltinFunctionCall";
        let lower = name.text.to_ascii_lowercase();
        let aggregate = match lower.as_str() {
            "avg" => Some(AggregateKind::Avg),
            "count" => Some(AggregateKind::Count),
            "max" => Some(AggregateKind::Max),
            "min" => Some(AggregateKind::Min),
            "sum" => Some(AggregateKind::Sum),
            _ => None,
        };
        if let Some(kind) = aggregate {
            return self.aggregate(kind);
        }
        let function = match lower.as_str() {
            "char_length" | "character_length" => Function::CharLength,
            "coalesce" => Function::Coalesce,
            "lower" => Function::Lower,
            "nullif" => Function::NullIf,
            "to_string" => Function::ToString,
            "to_timestamp" => Function::ToTimestamp,
            "upper" => Function::Upper,
            "utcnow" => Function::UtcNow,
            "substring" => {
                let mut list = vec![self.expression()?];
                let words = self.word("from");
                if !words && !self.symbol(",") {
                    return self.wrong("ParseExpectedArgumentDelimiter", "FROM or ','");
                }
                list.push(self.expression()?);
                if if words { self.word("for") } else { self.symbol(",") } {
                    list.push(self.expression()?);
                }
                self.need_symbol(")", RIGHT)?;
                return Ok(Expr::Call(Function::Substring, list));
            }
            "trim" => {
                let side = [("leading", Trim::Leading), ("trailing", Trim::Trailing), ("both", Trim::Both)]
                    .into_iter()
                    .find(|(word, _)| self.word(word));
                let first = if self.is_word("from") { None } else { Some(self.boxed(Self::expression)?) };
                let (chars, of) = if self.word("from") {
                    (first, self.boxed(Self::expression)?)
                } else {
                    match first {
                        Some(of) => (None, of),
                        None => return self.wrong("ParseExpectedExpression", "An expression"),
                    }
                };
                self.need_symbol(")", RIGHT)?;
                return Ok(Expr::Trim { side: side.map_or(Trim::Both, |(_, side)| side), chars, of });
            }
            "date_add" | "date_diff" => {
                let part = self.date_part()?;
                self.need_symbol(",", "ParseExpectedArgumentDelimiter")?;
                let first = self.boxed(Self::expression)?;
                self.need_symbol(",", "ParseExpectedArgumentDelimiter")?;
                let second = self.boxed(Self::expression)?;
                self.need_symbol(")", RIGHT)?;
                let make = if lower == "date_add" { Expr::DateAdd } else { Expr::DateDiff };
                return Ok(make(part, first, second));
            }
            "extract" => {
                let part = self.date_part()?;
                self.need_word("from")?;
                let of = self.boxed(Self::expression)?;
                self.need_symbol(")", RIGHT)?;
                return Ok(Expr::Extract(part, of));
            }
            _ => {
                let message = format!("Encountered an unsupported SQL function: {}.", name.text);
                return fail("UnsupportedFunction", message);
            }
        };
        if self.symbol("*") {
            return fail("ParseUnsupportedCallWithStar", "Only COUNT with (*) as a parameter is supported.");
        }
        let list = self.arguments(")")?;
        let fits = match function {
            Function::Coalesce => !list.is_empty(),
            Function::NullIf | Function::ToString => list.len() == 2,
            Function::UtcNow => list.is_empty(),
            _ => list.len() == 1,
        };
        if !fits {
            let message = format!("Incorrect number of arguments in the function call: {}.", name.text);
            return fail("EvaluatorInvalidArguments", message);
        }
        Ok(Expr::Call(function, list))
    }

    fn date_part(&mut self) -> Result<DatePart> {
        let part = match self.peek() {
            Token::Name(name) => DatePart::parse(&name.text),
            _ => None,
        };
        match part {
            Some(part) => {
                self.next += 1;
                Ok(part)
            }
            None => self.wrong("ParseExpectedDatePart", "A part of a date"),
        }
    }

    fn aggregate(&mut self, kind: AggregateKind) -> Result<Expr> {
        if self.inside {
            return fail("UnsupportedSqlStructure", "An aggregate function cannot stand in another.");
        }
        let of = if self.symbol("*") {
            if kind != AggregateKind::Count {
                return fail("ParseUnsupportedCallWithStar", "Only COUNT with (*) as a parameter is supported.");
            }
            self.need_symbol(")", "ParseExpectedRightParenBuiltinFunctionCall")?;
            None
        } else {
            self.inside = true;
            let mut list = self.arguments(")")?;
            self.inside = false;
            match (list.pop(), list.is_empty()) {
                (Some(of), true) => Some(of),
                _ => {
                    let message = "Only one argument is supported for aggregate functions in the SQL expression.";
                    return fail("ParseNonUnaryAgregateFunctionCall", message);
                }
            }
        };
        self.aggregates.push(Aggregate { kind, of });
        Ok(Expr::Aggregate(self.aggregates.len() - 1))
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::SelectError;
    use super::*;

    fn code(text: &str) -> &'static str {
        match parse(text) {
            Ok(_) => "ok",
            Err(SelectError::Refused { code, .. }) => code,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        for (text, expected) in [
            ("", "ParseEmptySelect"),
            ("SELECT", "ParseSelectMissingFrom"),
            ("SELECT FROM S3Object", "ParseEmptySelect"),
            ("SELECT * S3Object", "ParseSelectMissingFrom"),
            ("SELECT * FROM", "ParseUnexpectedToken"),
            ("SELECT * FROM table1", "EvaluatorBindingDoesNotExist"),
            ("SELECT *, a FROM S3Object", "ParseAsteriskIsNotAloneInSelectList"),
            ("SELECT a, * FROM S3Object", "ParseAsteriskIsNotAloneInSelectList"),
            ("SELECT a b c FROM S3Object", "ParseUnexpectedToken"),
            ("SELECT a FROM S3Object, S3Object", "MultipleDataSourcesUnsupported"),
            ("SELECT a FROM S3Object GROUP BY a", "UnsupportedSqlStructure"),
            ("SELECT a FROM S3Object s ORDER BY a", "UnsupportedSqlStructure"),
            ("SELECT DISTINCT a FROM S3Object s", "UnsupportedSqlStructure"),
            ("SELECT a, COUNT(*) FROM S3Object s", "UnsupportedSqlStructure"),
            ("SELECT SUM(MAX(a)) FROM S3Object s", "UnsupportedSqlStructure"),
            ("SELECT a FROM S3Object WHERE COUNT(*) > 1", "UnsupportedSqlStructure"),
            ("SELECT SUM(*) FROM S3Object", "ParseUnsupportedCallWithStar"),
            ("SELECT LOWER(*) FROM S3Object", "ParseUnsupportedCallWithStar"),
            ("SELECT SUM(a, b) FROM S3Object", "ParseNonUnaryAgregateFunctionCall"),
            ("SELECT LOWER(a, b) FROM S3Object", "EvaluatorInvalidArguments"),
            ("SELECT FOO(a) FROM S3Object", "UnsupportedFunction"),
            ("SELECT CAST(a AS BLOB) FROM S3Object", "ParseExpectedTypeName"),
            ("SELECT CAST(a, INT) FROM S3Object", "ParseExpectedKeyword"),
            ("SELECT CAST(a AS DECIMAL(2,3)) FROM S3Object", "ParseInvalidTypeParam"),
            ("SELECT DATE_ADD(eon, 1, a) FROM S3Object", "ParseExpectedDatePart"),
            ("SELECT CASE a END FROM S3Object", "ParseExpectedWhenClause"),
            ("SELECT a FROM S3Object LIMIT x", "ParseExpectedNumber"),
            ("SELECT a FROM S3Object LIMIT -1", "EvaluatorNegativeLimit"),
            ("SELECT a FROM S3Object WHERE", "ParseUnexpectedToken"),
            ("SELECT a FROM S3Object WHERE a IS 1", "ParseExpectedKeyword"),
            ("SELECT a FROM S3Object WHERE a IN 1", "ParseExpectedLeftParenValueConstructor"),
            ("SELECT a[*] FROM S3Object", "ParseInvalidPathComponent"),
            ("SELECT 'a FROM S3Object", "LexerInvalidLiteral"),
            ("SELECT 1a FROM S3Object", "LexerInvalidLiteral"),
            ("SELECT a ? b FROM S3Object", "LexerInvalidChar"),
            ("SELECT `[1]` FROM S3Object", "LexerInvalidIONLiteral"),
            ("DELETE FROM S3Object", "ParseUnexpectedToken"),
            (
                "SELECT s.from, s.\"Select\", _1 FROM s3object[*].a[*].b AS s WHERE NOT a = 1 AND b IS NOT MISSING;",
                "ok",
            ),
            ("SELECT EXTRACT(year FROM a) x, SUBSTRING(a FROM 2 FOR 3), TRIM(BOTH FROM a) FROM S3Object", "ok"),
            ("SELECT SUM(a) / COUNT(*) + 1 FROM S3Object -- all of it", "ok"),
            ("SELECT * FROM S3Object s WHERE a IN (1, 2) AND b NOT LIKE 'x!%' ESCAPE '!' /* yes */ LIMIT 0", "ok"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    /// Long chains are flat; nothing recurses as deep as the text is long.
    #[test]
    fn long_expressions_cost_no_stack() {
        let chain = |piece: &str| format!("SELECT * FROM S3Object WHERE 1{}", piece.repeat(200_000 / piece.len()));
        assert_eq!(code(&chain(" OR 1")), "ok");
        assert_eq!(code(&chain(" AND 1")), "ok");
        assert_eq!(code(&chain("||1")), "ok");
        assert_eq!(code(&chain("+1")), "ok");
        assert_eq!(code(&chain("*1")), "ok");
        assert_eq!(code(&chain("+1*1||1")), "ok");
        for piece in ["(", "- ", "+", "NOT ", "CASE ", "CAST(", "LOWER(", "a[", "1 IN ("] {
            let text = format!("SELECT * FROM S3Object WHERE {}", piece.repeat(200_000 / piece.len()));
            assert_ne!(code(&text), "ok", "{piece}");
        }
        assert_eq!(code(&format!("SELECT {} FROM S3Object", "a,".repeat(1 << 17))), "ExpressionTooLong");
    }

    proptest! {
        /// Whatever comes, there is an answer.
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            _ = parse(&text);
        }

        #[test]
        fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(vec![
            "SELECT", "FROM", "S3Object", "WHERE", "*", ",", ".", "(", ")", "[", "]", "a", "s", "'x'", "1", "NOT", "IN", "LIKE",
            "BETWEEN", "AND", "OR", "IS", "MISSING", "NULL", "CASE", "WHEN", "THEN", "END", "CAST", "AS", "INT", "COUNT", "LIMIT",
            "TRIM", "SUBSTRING", "FROM", "EXTRACT", "year", "||", "+", "-", "=", "\"q\"", "`2007T`",
        ]), 0..30)) {
            _ = parse(&format!("SELECT {} FROM S3Object {}", words.join(" "), words.join(" ")));
        }
    }
}
