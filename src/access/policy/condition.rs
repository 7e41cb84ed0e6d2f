//! Conditions: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>.
//!
//! A key that the request lacks makes a condition false, and a negated one true. Where AWS does not say what happens (several values where
//! one is expected; a negation of what has no value) the doubt is against the one who asks: an allowing statement does not apply, a denying
//! one does.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;
use rust_decimal::Decimal;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

use super::Effect;
use super::pattern::{Element, Glob};
use super::variables::{Facts, Matched, Reading, Template, Values};

/// What several values of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// As of a key with one value.
    Single,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// What is compared, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Text,
    TextInAnyCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    /// Whether there is none.
    Null,
}

/// Which way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equals,
    Less,
    LessOrEquals,
    Greater,
    GreaterOrEquals,
}

impl Order {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEquals => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEquals => order.is_ge(),
        }
    }
}

/// What a request's value is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Template(Template),
    /// `None`: it has variables, and is cut once they are known.
    Arn(Template, Option<ArnPattern>),
    Number(Decimal),
    Date(OffsetDateTime),
    Bool(bool),
    Binary(Vec<u8>),
    Network(IpNet),
}

/// A pattern for ARNs.
#[derive(Debug, Clone, PartialEq)]
enum ArnPattern {
    /// `*`
    Anything,
    /// Each of the six fields may have wildcards, which do not reach into the next.
    Fields(Box<[Glob; 6]>),
    /// It has no six fields, so no ARN is like it.
    Nothing,
}

/// An operator, as a policy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) quantifier: Quantifier,
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
}

impl Operator {
    /// `None` if there is none of this name. Names are case-sensitive.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            None => (Quantifier::Single, name),
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => return None,
        };
        if name == "Null" {
            // Whether there are values at all is no question to each of them.
            let single = quantifier == Quantifier::Single;
            return single.then_some(Self { quantifier, test: Test::Null, negated: false, if_exists: false });
        }
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (test, negated) = match name {
            "StringEquals" => (Test::Text, false),
            "StringNotEquals" => (Test::Text, true),
            "StringEqualsIgnoreCase" => (Test::TextInAnyCase, false),
            "StringNotEqualsIgnoreCase" => (Test::TextInAnyCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "NumericEquals" => (Test::Number(Order::Equals), false),
            "NumericNotEquals" => (Test::Number(Order::Equals), true),
            "NumericLessThan" => (Test::Number(Order::Less), false),
            "NumericLessThanEquals" => (Test::Number(Order::LessOrEquals), false),
            "NumericGreaterThan" => (Test::Number(Order::Greater), false),
            "NumericGreaterThanEquals" => (Test::Number(Order::GreaterOrEquals), false),
            "DateEquals" => (Test::Date(Order::Equals), false),
            "DateNotEquals" => (Test::Date(Order::Equals), true),
            "DateLessThan" => (Test::Date(Order::Less), false),
            "DateLessThanEquals" => (Test::Date(Order::LessOrEquals), false),
            "DateGreaterThan" => (Test::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Test::Date(Order::GreaterOrEquals), false),
            "Bool" => (Test::Bool, false),
            "BinaryEquals" => (Test::Binary, false),
            "IpAddress" => (Test::Ip, false),
            "NotIpAddress" => (Test::Ip, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            _ => return None,
        };
        Some(Self { quantifier, test, negated, if_exists })
    }
}

/// One key's condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    operator: Operator,
    /// In lower case.
    key: Box<str>,
    operands: Vec<Operand>,
}

impl Condition {
    /// `variables`: the policy's version has them.
    ///
    /// # Errors
    /// The value that cannot be compared so.
    pub(super) fn new<'a>(operator: Operator, key: &str, values: &[&'a str], variables: bool) -> Result<Self, &'a str> {
        let operand = |value: &&'a str| Operand::parse(operator.test, value, variables).ok_or(*value);
        let operands = values.iter().map(operand).collect::<Result<_, _>>()?;
        Ok(Self { operator, key: key.to_ascii_lowercase().into(), operands })
    }

    /// The key that it is about, in lower case.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn operator(&self) -> Operator {
        self.operator
    }

    /// Its values, if they are texts.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.operands.iter().filter_map(|operand| match operand {
            Operand::Template(template) | Operand::Arn(template, _) => Some(template),
            _ => None,
        })
    }

    /// Its values, if they are networks.
    pub(super) fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.operands.iter().filter_map(|operand| match operand {
            Operand::Network(network) => Some(network),
            _ => None,
        })
    }

    /// Whether it holds, in a statement with this effect.
    pub(super) fn holds(&self, facts: &Facts<'_>, effect: Effect) -> bool {
        let one;
        let values: &[_] = match facts.values(&self.key) {
            None => &[],
            Some(Values::Given(values)) => values,
            Some(Values::One(value)) => {
                one = [value.into_owned()];
                &one
            }
        };
        let Operator { quantifier, test, negated, if_exists } = self.operator;
        if test == Test::Null {
            // AWS calls a value null that is empty.
            let null = values.iter().all(String::is_empty);
            return self.operands.contains(&Operand::Bool(null));
        }
        if values.is_empty() {
            return match quantifier {
                Quantifier::Single => if_exists || negated,
                Quantifier::All => true,
                // AWS's page says that the condition is true then, and who has tried it that it is not.
                Quantifier::Any => if_exists && effect == Effect::Deny,
            };
        }
        let like =
            |value: &String| Matched::any(self.operands.iter().map(|operand| operand.matches(test, value, facts)));
        let judge = |matched| match matched {
            Matched::Yes => !negated,
            Matched::No => negated,
            // That it is not like what nobody knows denies, and does not allow.
            Matched::Unresolved => negated && effect == Effect::Deny,
        };
        match quantifier {
            // A key that has several values needs a quantifier.
            Quantifier::Single if effect == Effect::Allow => values.iter().all(|value| judge(like(value))),
            Quantifier::Single => values.iter().any(|value| judge(like(value))),
            Quantifier::Any => values.iter().any(|value| judge(like(value))),
            Quantifier::All => values.iter().filter(|value| !value.is_empty()).all(|value| judge(like(value))),
        }
    }
}

impl Operand {
    fn parse(test: Test, value: &str, variables: bool) -> Option<Self> {
        let template = |wildcards| Template::parse(value, Reading { wildcards, variables });
        Some(match test {
            Test::Text | Test::TextInAnyCase => Self::Template(template(false)?),
            Test::Like => Self::Template(template(true)?),
            Test::Arn => {
                let template = template(true)?;
                let fixed = template.variables().next().is_none();
                let fields = if fixed { Some(arn_pattern(&template.widest())?) } else { None };
                Self::Arn(template, fields)
            }
            Test::Number(_) => Self::Number(number(value)?),
            Test::Date(_) => Self::Date(date(value)?),
            Test::Bool | Test::Null => Self::Bool(boolean(value)?),
            Test::Binary => Self::Binary(BASE64_STANDARD.decode(value).ok()?),
            Test::Ip => Self::Network(network(value)?),
        })
    }

    fn matches(&self, test: Test, value: &str, facts: &Facts<'_>) -> Matched {
        match (self, test) {
            (Self::Template(template), Test::TextInAnyCase) => template.equals_in_any_case(value, facts),
            (Self::Template(template), _) => template.matches(value, facts),
            (Self::Arn(_, Some(pattern)), _) => pattern.matches(value).into(),
            (Self::Arn(template, None), _) => match template.for_request(facts, value.len()) {
                Ok(elements) => {
                    arn_pattern(&elements).map_or(Matched::Unresolved, |pattern| pattern.matches(value).into())
                }
                Err(end) => end,
            },
            (Self::Number(own), Test::Number(order)) => {
                number(value).is_some_and(|number| order.holds(number.cmp(own))).into()
            }
            (Self::Date(own), Test::Date(order)) => date(value).is_some_and(|date| order.holds(date.cmp(own))).into(),
            (Self::Bool(own), _) => (boolean(value) == Some(*own)).into(),
            (Self::Binary(own), _) => BASE64_STANDARD.decode(value).is_ok_and(|bytes| bytes == *own).into(),
            (Self::Network(own), _) => address(value).is_some_and(|address| own.contains(&address)).into(),
            (Self::Number(_) | Self::Date(_), _) => Matched::No,
        }
    }
}

fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text.strip_prefix('+').unwrap_or(text)).ok()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A date: ISO 8601 as W3C's profile has it, UTC where it does not say, or seconds since 1970.
fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(seconds) = text.parse::<i64>() {
        // A year alone is a number, too, but AWS reads that as seconds.
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    let whole = OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok();
    let whole =
        whole.or_else(|| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).ok().map(PrimitiveDateTime::assume_utc));
    whole.or_else(|| Some(Date::parse(text, &Iso8601::DEFAULT).ok()?.with_time(Time::MIDNIGHT).assume_utc()))
}

fn address(text: &str) -> Option<IpAddr> {
    // A server that listens on IPv6 sees IPv4 clients as ::ffff:a.b.c.d.
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A network as CIDR has it, or one address. Those of IPv4 may be written as what they are in IPv6.
fn network(text: &str) -> Option<IpNet> {
    let Some((host, bits)) = text.split_once('/') else { return address(text).map(IpNet::from) };
    let (whole, bits): (IpNet, u8) = (text.parse().ok()?, bits.parse().ok()?);
    let host = address(host)?;
    if whole.addr() == host { Some(whole) } else { IpNet::new(host, bits.checked_sub(96)?).ok() }
}

/// Cuts a pattern at the first five colons; `None` if it would cost too much to look for.
fn arn_pattern(elements: &[Element]) -> Option<ArnPattern> {
    if !elements.is_empty() && elements.iter().all(|element| *element == Element::Any) {
        return Some(ArnPattern::Anything);
    }
    let fields = elements.splitn(6, |element| *element == Element::Char(':'));
    let fields = <[Glob; 6]>::try_from(fields.map(Glob::new).collect::<Option<Vec<_>>>()?);
    Some(fields.map_or(ArnPattern::Nothing, |fields| ArnPattern::Fields(Box::new(fields))))
}

impl ArnPattern {
    fn matches(&self, text: &str) -> bool {
        let mut fields = text.splitn(6, ':');
        match self {
            Self::Anything => fields.count() == 6,
            Self::Fields(globs) => globs.iter().all(|glob| fields.next().is_some_and(|field| glob.matches(field))),
            Self::Nothing => false,
        }
    }
}
