//! Variables: `${aws:username}`, `${aws:PrincipalTag/team, 'none'}`, `${*}`:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>.
//!
//! What stands for a variable is text: a `*` in a user's name is no wildcard.

use std::borrow::Cow;

use super::Context;
use super::pattern::{Element, Glob, wild};
use crate::access::{Identity, Kind};

/// What is known of a request: who asks, and what the caller says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) who: &'a Identity,
    pub(super) context: &'a Context,
}

/// The values of a condition key.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// One that is found out when it is asked for.
    One(Cow<'a, str>),
    /// Those that the caller gave.
    Given(&'a [String]),
}

impl<'a> Facts<'a> {
    /// The values of a key in lower case; `None` if the request has none. Who asks is the identity's to say, never the context's:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>.
    pub(super) fn values(&self, key: &str) -> Option<Values<'a>> {
        let who = self.who;
        let one = |value: Cow<'a, str>| Some(Values::One(value));
        match key {
            "aws:principalarn" if who.is_anonymous() => None,
            "aws:principalarn" => one(who.role_arn().unwrap_or_else(|| who.arn()).into()),
            "aws:principalaccount" if who.is_anonymous() => None,
            "aws:principalaccount" => one(Cow::Borrowed(&who.account.id)),
            "aws:principaltype" => one(Cow::Borrowed(match who.kind {
                Kind::Anonymous => "Anonymous",
                Kind::Root => "Account",
                Kind::User { .. } => "User",
                Kind::Role { .. } => "AssumedRole",
                Kind::Federated { .. } => "FederatedUser",
            })),
            // No service of AWS asks here, for itself or for anybody: AWS says so of every request that is signed, or of every one.
            "aws:principalisawsservice" if who.is_anonymous() => None,
            "aws:principalisawsservice" | "aws:viaawsservice" => one(Cow::Borrowed("false")),
            "aws:userid" => one(who.user_id().into()),
            "aws:username" => match &who.kind {
                Kind::User { name, .. } => one(Cow::Borrowed(&**name)),
                _ => None,
            },
            "aws:federatedprovider" => one(Cow::Borrowed(&who.federation.as_deref()?.provider)),
            _ => {
                let claims = who.federation.as_deref().and_then(|federation| federation.values(key));
                let values = claims.or_else(|| self.context.0.get(key).map(Vec::as_slice));
                values.filter(|values| !values.is_empty()).map(Values::Given)
            }
        }
    }

    /// The value of a key that has one value.
    fn value(&self, key: &str) -> Option<Cow<'a, str>> {
        match self.values(key)? {
            Values::One(value) => Some(value),
            Values::Given([value]) => Some(Cow::Borrowed(value)),
            Values::Given(_) => None,
        }
    }
}

/// How a comparison ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matched {
    Yes,
    No,
    /// It has a variable that the request has no value for.
    Unresolved,
}

impl Matched {
    /// How it ends with any of several: [`Self::Yes`] if any is, else [`Self::Unresolved`] if any is.
    pub(super) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut end = Self::No;
        for one in all {
            match one {
                Self::Yes => return Self::Yes,
                Self::Unresolved => end = Self::Unresolved,
                Self::No => {}
            }
        }
        end
    }
}

impl From<bool> for Matched {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Box<str>),
    One,
    Any,
    /// `key` in lower case.
    Variable {
        key: Box<str>,
        default: Option<Box<str>>,
    },
}

/// A text of a policy with what may be in it: variables, wildcards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// Made once, if there are no variables.
    glob: Option<Glob>,
}

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// `${…}` is a variable.
    pub(super) variables: bool,
}

impl Template {
    /// `None` if a variable is malformed, or the pattern would cost too much to look for.
    pub(super) fn parse(text: &str, reading: Reading) -> Option<Self> {
        let mut parts = Vec::new();
        let mut text = text;
        while reading.variables
            && let Some((before, after)) = text.split_once("${")
        {
            push_plain(&mut parts, before, reading.wildcards);
            let (variable, rest) = variable(after)?;
            match variable {
                Part::Text(plain) => push_text(&mut parts, &plain),
                variable => parts.push(variable),
            }
            text = rest;
        }
        push_plain(&mut parts, text, reading.wildcards);
        let mut template = Self { parts, glob: None };
        if template.variables().next().is_none() {
            template.glob = Some(Glob::new(&template.elements(&[]))?);
        }
        Some(template)
    }

    /// The keys of its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { key, .. } => Some(&**key),
            _ => None,
        })
    }

    /// The text that it is, if it is always the same.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that it always begins with.
    pub(super) fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// What it may match at most: as if variables were `*`.
    pub(super) fn widest(&self) -> Vec<Element> {
        self.elements(&[])
    }

    /// Its elements, with these values for its variables, and `*` for those that there are no more values for.
    fn elements(&self, values: &[Cow<'_, str>]) -> Vec<Element> {
        let (mut elements, mut values) = (Vec::new(), values.iter());
        for part in &self.parts {
            match part {
                Part::Text(text) => elements.extend(text.chars().map(Element::Char)),
                Part::One => elements.push(Element::One),
                Part::Any => elements.push(Element::Any),
                Part::Variable { .. } => match values.next() {
                    Some(value) => elements.extend(value.chars().map(Element::Char)),
                    None => elements.push(Element::Any),
                },
            }
        }
        elements
    }

    /// The values of its variables; `None` if the request has none for one of them.
    fn resolve<'a>(&'a self, facts: &Facts<'a>) -> Option<Vec<Cow<'a, str>>> {
        let value = |part: &'a Part| match part {
            Part::Variable { key, default } => Some(facts.value(key).or_else(|| default.as_deref().map(Cow::Borrowed))),
            _ => None,
        };
        self.parts.iter().filter_map(value).collect()
    }

    /// Its elements for this request, to be compared with `length` bytes of text: nothing that is longer is made.
    pub(super) fn for_request(&self, facts: &Facts<'_>, length: usize) -> Result<Vec<Element>, Matched> {
        let values = self.resolve(facts).ok_or(Matched::Unresolved)?;
        if values.iter().map(|value| value.len()).sum::<usize>() > length {
            return Err(Matched::No);
        }
        Ok(self.elements(&values))
    }

    /// Whether `text` is like it.
    pub(super) fn matches(&self, text: &str, facts: &Facts<'_>) -> Matched {
        if let Some(glob) = &self.glob {
            return glob.matches(text).into();
        }
        match self.for_request(facts, text.len()) {
            Ok(elements) => Glob::new(&elements).map_or(Matched::Unresolved, |glob| glob.matches(text).into()),
            Err(end) => end,
        }
    }

    /// Whether `text` is the same but for upper and lower case. There are no wildcards then.
    pub(super) fn equals_in_any_case(&self, text: &str, facts: &Facts<'_>) -> Matched {
        let Some(values) = self.resolve(facts) else { return Matched::Unresolved };
        let mut values = values.iter();
        let mut text = text.chars().flat_map(char::to_lowercase);
        for part in &self.parts {
            let own = match part {
                Part::Text(own) => own,
                Part::Variable { .. } => values.next().map_or("", |value| value),
                Part::One | Part::Any => return Matched::No,
            };
            if !own.chars().flat_map(char::to_lowercase).all(|char| text.next() == Some(char)) {
                return Matched::No;
            }
        }
        text.next().is_none().into()
    }
}

fn push_plain(parts: &mut Vec<Part>, text: &str, wildcards: bool) {
    let mut run = String::new();
    for element in wild(text) {
        match element {
            Element::Char(char) => run.push(char),
            Element::One if !wildcards => run.push('?'),
            Element::Any if !wildcards => run.push('*'),
            Element::One | Element::Any => {
                push_text(parts, &std::mem::take(&mut run));
                parts.push(if element == Element::One { Part::One } else { Part::Any });
            }
        }
    }
    push_text(parts, &run);
}

/// Adds text, to the text before it if there is some: [`Template::fixed`] looks for one text.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(before)) => *before = format!("{before}{text}").into(),
        _ => parts.push(Part::Text(text.into())),
    }
}

/// Reads a variable behind its `${`; answers what follows, too.
fn variable(text: &str) -> Option<(Part, &str)> {
    for plain in ["*", "?", "$"] {
        if let Some(rest) = text.strip_prefix(plain).and_then(|rest| rest.strip_prefix('}')) {
            return Some((Part::Text(plain.into()), rest));
        }
    }
    let end = text.find(['}', ','])?;
    let (key, rest) = (text.get(..end)?.trim(), text.get(end..)?);
    if key.is_empty() || key.contains(['$', '{', '*', '?', '\'', '"']) {
        return None;
    }
    let (default, rest) = match rest.strip_prefix(',') {
        None => (None, rest),
        Some(rest) => {
            let (default, rest) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
            (Some(default.into()), rest.trim_start())
        }
    };
    Some((Part::Variable { key: key.to_ascii_lowercase().into(), default }, rest.strip_prefix('}')?))
}
