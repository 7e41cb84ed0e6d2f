//! Expressions, from what binds least to what binds most.

use super::*;

impl Parser {
    /// Reads one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return too_deep();
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    pub(super) fn boxed(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr>) -> Result<Box<Expr>> {
        read(self).map(Box::new)
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.deeper(|this| {
            let mut all = vec![this.conjunction()?];
            while this.word("or") {
                all.push(this.conjunction()?);
            }
            Ok(one_or(all, Expr::Or))
        })
    }

    pub(super) fn conjunction(&mut self) -> Result<Expr> {
        let mut all = vec![self.negation()?];
        while self.word("and") {
            all.push(self.negation()?);
        }
        Ok(one_or(all, Expr::And))
    }

    pub(super) fn negation(&mut self) -> Result<Expr> {
        if self.word("not") {
            return self.deeper(|this| Ok(Expr::Not(this.boxed(Self::negation)?)));
        }
        self.predicate()
    }

    pub(super) fn predicate(&mut self) -> Result<Expr> {
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
    pub(super) fn arguments(&mut self, close: &str) -> Result<Vec<Expr>> {
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

    pub(super) fn sum(&mut self) -> Result<Expr> {
        self.chain(Self::product, |symbol| match symbol {
            "+" => Some(Operator::Arithmetic(Arithmetic::Add)),
            "-" => Some(Operator::Arithmetic(Arithmetic::Subtract)),
            "||" => Some(Operator::Concatenate),
            _ => None,
        })
    }

    pub(super) fn product(&mut self) -> Result<Expr> {
        self.chain(Self::unary, |symbol| match symbol {
            "*" => Some(Operator::Arithmetic(Arithmetic::Multiply)),
            "/" => Some(Operator::Arithmetic(Arithmetic::Divide)),
            "%" => Some(Operator::Arithmetic(Arithmetic::Modulo)),
            _ => None,
        })
    }

    pub(super) fn chain(
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

    pub(super) fn unary(&mut self) -> Result<Expr> {
        if self.symbol("-") {
            return self.deeper(|this| Ok(Expr::Negate(this.boxed(Self::unary)?)));
        }
        if self.symbol("+") {
            return self.deeper(Self::unary);
        }
        self.primary()
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
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

    pub(super) fn unquoted(&mut self, name: Name) -> Result<Expr> {
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

    pub(super) fn path(&mut self) -> Result<Expr> {
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

    pub(super) fn case(&mut self) -> Result<Expr> {
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
}
