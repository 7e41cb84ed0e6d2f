//! What is called: casts, functions and aggregates.

use super::*;

impl Parser {
    pub(super) fn cast(&mut self) -> Result<Expr> {
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

    pub(super) fn digits(&mut self) -> Result<u32> {
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
    pub(super) fn call(&mut self, name: &Name) -> Result<Expr> {
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

    pub(super) fn date_part(&mut self) -> Result<DatePart> {
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

    pub(super) fn aggregate(&mut self, kind: AggregateKind) -> Result<Expr> {
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
