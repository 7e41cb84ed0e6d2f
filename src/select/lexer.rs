//! From the text of an SQL expression to its tokens.

use super::error::{Result, fail};
use super::syntax::Name;
use super::timestamp::Timestamp;
use super::value::{Number, Value};

#[derive(Debug, Clone)]
pub(super) enum Token {
    /// A word, or a name in double quotes.
    Name(Name),
    Literal(Value),
    /// Punctuation and operators.
    Symbol(&'static str),
    End,
}

/// Longer ones first.
const SYMBOLS: [&str; 20] =
    ["<=", ">=", "<>", "!=", "||", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", ".", ";"];

/// Tokens, each with the place where it begins, counted in characters from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/").map_or("", |(_, after)| after);
            continue;
        }
        // Counted in bytes: close enough to find it.
        let at = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, at));
            return Ok(tokens);
        };
        let token = match first {
            '\'' => Token::Literal(Value::String(quoted(&mut rest, '\'', at)?)),
            '"' => Token::Name(Name { text: quoted(&mut rest, '"', at)?, quoted: true }),
            '`' => Token::Literal(ion(&quoted(&mut rest, '`', at)?, at)?),
            '0'..='9' => Token::Literal(number(&mut rest, at)?),
            '.' if rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit())
                && !matches!(tokens.last(), Some((Token::Name(_) | Token::Symbol("]"), _))) =>
            {
                Token::Literal(number(&mut rest, at)?)
            }
            _ if first == '_' || first.is_alphabetic() => {
                let end = rest.find(|c: char| c != '_' && c != '$' && !c.is_alphanumeric()).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = after;
                Token::Name(Name { text: word.to_owned(), quoted: false })
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => {
                    rest = rest.get(symbol.len()..).unwrap_or_default();
                    Token::Symbol(symbol)
                }
                None => {
                    return fail("LexerInvalidChar", format!("The SQL expression has an invalid character at {at}."));
                }
            },
        };
        tokens.push((token, at));
    }
}

/// What is between two `quote`s, of which two stand for one.
fn quoted(rest: &mut &str, quote: char, at: usize) -> Result<String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((place, char)) = chars.next() {
        if char != quote {
            text.push(char);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            *rest = rest.get(place + char.len_utf8()..).unwrap_or_default();
            return Ok(text);
        }
    }
    fail("LexerInvalidLiteral", format!("The SQL expression has a literal without an end at {at}."))
}

fn number(rest: &mut &str, at: usize) -> Result<Value> {
    let bytes = rest.as_bytes();
    let mut end = 0;
    while let Some(byte) = bytes.get(end) {
        let exponent = matches!(byte, b'e' | b'E');
        let sign = matches!(byte, b'+' | b'-') && matches!(bytes.get(end.wrapping_sub(1)), Some(b'e' | b'E'));
        if !byte.is_ascii_digit() && *byte != b'.' && !exponent && !sign {
            break;
        }
        end += 1;
    }
    let (text, after) = rest.split_at_checked(end).unwrap_or_default();
    *rest = after;
    match Number::parse(text) {
        Some(number) if !after.starts_with(|c: char| c == '_' || c.is_alphanumeric()) => Ok(number.value()),
        _ => fail("LexerInvalidLiteral", format!("The SQL expression has an invalid number at {at}.")),
    }
}

/// The scalars of an Ion literal.
fn ion(text: &str, at: usize) -> Result<Value> {
    let text = text.trim();
    let string = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match text {
        "null" => Ok(Value::Null),
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => {
            if let Some(at) = Timestamp::parse(text) {
                return Ok(Value::Timestamp(Box::new(at)));
            }
            if let Some(number) = Number::parse(text) {
                return Ok(number.value());
            }
            match string {
                Some(string) if !string.contains(['"', '\\']) => Ok(Value::String(string.to_owned())),
                _ => fail("LexerInvalidIONLiteral", format!("The SQL expression has an invalid Ion literal at {at}.")),
            }
        }
    }
}
