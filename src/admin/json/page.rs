//! Lists by the page: `limit` and `after`.

use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use crate::admin::{Problem, Result};

/// Items of a page if nothing is said, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask for `after` to get the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Desk<'_> {
    /// A page of what there is, by names, without regard to case unless nothing else tells two apart.
    pub(super) fn page<R, T>(
        &self,
        rows: impl IntoIterator<Item = R>,
        name: impl Fn(&R) -> &str,
        show: impl Fn(R) -> T,
    ) -> Result<Page<T>> {
        let wrong = || Problem::bad("ValidationError", format!("limit is a number from 1 to {MOST}"));
        let limit = match self.parameter("limit") {
            Some(text) => text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(wrong)?,
            None => USUAL,
        };
        let place = |name: &str| (name.to_ascii_lowercase(), name.to_owned());
        let after = self.parameter("after").map(place);
        let behind = |row: &R| after.as_ref().is_none_or(|after| place(name(row)) > *after);
        let mut page: Vec<R> = rows.into_iter().filter(behind).collect();
        page.sort_by_cached_key(|row| place(name(row)));
        let is_cut = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| is_cut).map(|row| name(row).to_owned());
        Ok(Page { items: page.into_iter().map(show).collect(), next })
    }
}
