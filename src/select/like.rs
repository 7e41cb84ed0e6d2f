//! `LIKE`.

use memchr::memmem;

use super::error::{Result, fail};

/// Characters of a pattern at most: to compare it costs its length for each character of the text.
const MAX_PATTERN: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Char(char),
    /// `_`.
    Any,
}

/// A run between two `%`.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    elements: Vec<Element>,
    /// The same as text, if there is no `_` in it.
    text: Option<String>,
}

/// A pattern, cut at its `%`.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

impl Piece {
    fn new(elements: Vec<Element>) -> Self {
        let char = |element: &Element| match element {
            Element::Char(char) => Some(*char),
            Element::Any => None,
        };
        let text = elements.iter().map(char).collect();
        Self { elements, text }
    }

    /// What is left of `text` if it begins like this.
    fn strip<'a>(&self, text: &'a str) -> Option<&'a str> {
        if let Some(piece) = &self.text {
            return text.strip_prefix(piece.as_str());
        }
        let mut chars = text.chars();
        for element in &self.elements {
            let next = chars.next()?;
            if !matches!(element, Element::Any) && *element != Element::Char(next) {
                return None;
            }
        }
        Some(chars.as_str())
    }

    /// What follows the first place in `text` that is like this.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        if let Some(piece) = &self.text {
            let at = memmem::find(text.as_bytes(), piece.as_bytes())?;
            return text.get(at + piece.len()..);
        }
        let mut from = text;
        loop {
            if let Some(rest) = self.strip(from) {
                return Some(rest);
            }
            let mut chars = from.chars();
            chars.next()?;
            from = chars.as_str();
        }
    }

    /// Whether `text` ends like this.
    fn ends(&self, text: &str) -> bool {
        let mut chars = text.chars();
        self.elements.iter().rev().all(|element| match (element, chars.next_back()) {
            (_, None) => false,
            (Element::Any, Some(_)) => true,
            (Element::Char(char), Some(last)) => *char == last,
        })
    }
}

impl Pattern {
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Result<Self> {
        if pattern.chars().nth(MAX_PATTERN).is_some() {
            return fail("LikeInvalidInputs", format!("The pattern of LIKE is longer than {MAX_PATTERN} characters."));
        }
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            match char {
                char if Some(char) == escape => match chars.next() {
                    Some(next) if next == '%' || next == '_' || Some(next) == escape => piece.push(Element::Char(next)),
                    _ => {
                        let message = "An invalid escape sequence stands in the pattern of LIKE.";
                        return fail("EvaluatorLikePatternInvalidEscapeSequence", message);
                    }
                },
                '%' => pieces.push(std::mem::take(&mut piece)),
                '_' => piece.push(Element::Any),
                char => piece.push(Element::Char(char)),
            }
        }
        pieces.push(piece);
        Ok(Self(pieces.into_iter().map(Piece::new).collect()))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return text.is_empty() };
        let Some(mut left) = first.strip(text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        for piece in middle {
            match piece.find(left) {
                Some(after) => left = after,
                None => return false,
            }
        }
        last.ends(left)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern, Some('!')).unwrap().matches(text)
    }

    /// The definition, as slow as it is short.
    fn slowly(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|at| slowly(&text[at..], rest)),
            Some(('_', rest)) => !text.is_empty() && slowly(&text[1..], rest),
            Some((char, rest)) => text.first() == Some(char) && slowly(&text[1..], rest),
        }
    }

    #[test]
    fn patterns_match_whole_texts() {
        assert!(like("Yves", "_ves") && like("Elliot", "Ell%t") && like("", "%") && like("ab", "%%b"));
        assert!(!like("Yves", "ves") && !like("Yves", "Yve") && !like("", "_") && !like("ab", "ab_%"));
        assert!(like("50%", "50!%") && !like("500", "50!%") && like("a!b_", "a!!b!_"));
        assert!(Pattern::new("a!", Some('!')).is_err() && Pattern::new("!a", Some('!')).is_err());
        assert!(Pattern::new(&"x".repeat(5000), None).is_err());
    }

    proptest! {
        #[test]
        fn as_the_definition_says(text in "[abع]{0,8}", pattern in "[abع%_]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(like(&text, &pattern), slowly(&chars(&text), &chars(&pattern)));
        }
    }
}
