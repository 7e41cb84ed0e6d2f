//! Wildcards: `*` is any run of characters, `?` any one.

use memchr::memmem;

/// Characters at most of what stands between two `*` and has a `?` in it: to look for it costs its length for each character of the text.
const MAX_MIXED: usize = 1024;

/// A pattern's smallest part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Char(char),
    /// `?`
    One,
    /// `*`
    Any,
}

/// What stands between two `*`.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Box<str>),
    /// With `?`s, which are `None`.
    Mixed(Box<[Option<char>]>),
}

impl Piece {
    fn new(chars: &[Option<char>]) -> Self {
        let text: Option<String> = chars.iter().copied().collect();
        text.map_or_else(|| Self::Mixed(chars.into()), |text| Self::Text(text.into()))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// What is left of `text` if it begins so.
    fn strip<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(piece) => text.strip_prefix(&**piece),
            Self::Mixed(piece) => {
                let mut chars = text.chars();
                piece
                    .iter()
                    .all(|own| chars.next().is_some_and(|char| own.is_none_or(|own| own == char)))
                    .then_some(())?;
                Some(chars.as_str())
            }
        }
    }

    /// What follows the first place in `text` that is so.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(piece) => {
                let at = memmem::find(text.as_bytes(), piece.as_bytes())?;
                text.get(at + piece.len()..)
            }
            Self::Mixed(_) => text.char_indices().find_map(|(at, _)| self.strip(text.get(at..)?)),
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Text(piece) => text.ends_with(&**piece),
            Self::Mixed(piece) => {
                let mut chars = text.chars().rev();
                piece.iter().rev().all(|own| chars.next().is_some_and(|char| own.is_none_or(|own| own == char)))
            }
        }
    }
}

/// A pattern, cut at its `*`: to match takes as long as the text is, but for pieces with `?`, whose length is bounded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glob {
    head: Piece,
    /// The pieces between stars, and the one after the last; `None` if there is no star.
    rest: Option<(Vec<Piece>, Piece)>,
}

impl Glob {
    /// `None` if it would cost too much to look for.
    pub(super) fn new(elements: &[Element]) -> Option<Self> {
        let chars = |elements: &[Element]| -> Vec<Option<char>> {
            let char = |element: &Element| match element {
                Element::Char(char) => Some(*char),
                Element::One | Element::Any => None,
            };
            elements.iter().map(char).collect()
        };
        let mut pieces: Vec<Piece> =
            elements.split(|element| *element == Element::Any).map(|piece| Piece::new(&chars(piece))).collect();
        let last = pieces.pop()?;
        if pieces.is_empty() {
            return Some(Self { head: last, rest: None });
        }
        let head = pieces.remove(0);
        pieces.retain(|piece| !piece.is_empty());
        let long = |piece: &Piece| matches!(piece, Piece::Mixed(chars) if chars.len() > MAX_MIXED);
        (!pieces.iter().any(long)).then_some(Self { head, rest: Some((pieces, last)) })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(text) = self.head.strip(text) else { return false };
        match &self.rest {
            None => text.is_empty(),
            // The first place for each is as good as any: it leaves the most to those that follow.
            Some((pieces, last)) => {
                pieces.iter().try_fold(text, |text, piece| piece.find(text)).is_some_and(|text| last.ends(text))
            }
        }
    }
}

/// The elements of a text in which `*` and `?` are wildcards.
pub(super) fn wild(text: &str) -> impl Iterator<Item = Element> {
    text.chars().map(|char| match char {
        '*' => Element::Any,
        '?' => Element::One,
        char => Element::Char(char),
    })
}

/// What of all texts that begin with `prefix` a pattern can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// `prefix` itself.
    pub(super) exactly: bool,
    /// Longer ones.
    pub(super) beyond: bool,
}

/// What of the texts that begin with `prefix` these elements can match: all places in the pattern where one may be after each character.
pub(super) fn reached(elements: &[Element], prefix: &str) -> Reached {
    let end = elements.len();
    let mut places = vec![false; end + 1];
    if let Some(start) = places.first_mut() {
        *start = true;
    }
    // A star may be nothing.
    let pass = |places: &mut Vec<bool>| {
        for (at, element) in elements.iter().enumerate() {
            if *element == Element::Any && places.get(at) == Some(&true) {
                places[at + 1] = true;
            }
        }
    };
    pass(&mut places);
    for char in prefix.chars() {
        let mut next = vec![false; end + 1];
        for (at, element) in elements.iter().enumerate().filter(|(at, _)| places.get(*at) == Some(&true)) {
            match element {
                Element::Any => next[at] = true,
                Element::One => next[at + 1] = true,
                Element::Char(own) if *own == char => next[at + 1] = true,
                Element::Char(_) => {}
            }
        }
        pass(&mut next);
        places = next;
    }
    let exactly = places.pop() == Some(true);
    Reached { exactly, beyond: places.contains(&true) }
}
