//! Lists by the page: <https://docs.aws.amazon.com/IAM/latest/UserGuide/iam-quotas.html>, `Marker` and `MaxItems`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Desk;
use crate::admin::xml::Xml;
use crate::admin::{Problem, Result};

/// Entries of a page if nothing is said.
const USUAL: i64 = 100;

impl Desk<'_> {
    /// Writes a page of a list, whose entries come by their names; a marker is the name of the last one that was shown.
    pub(super) fn page<T>(
        &mut self,
        list: &str,
        items: Vec<T>,
        name: impl Fn(&T) -> String,
        each: impl FnMut(&mut Xml, T),
    ) -> Result<()> {
        let most = self.params.number("MaxItems", 1, 1000)?.unwrap_or(USUAL);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let after = match self.params.get("Marker") {
            Some(marker) => {
                let decoded =
                    BASE64_URL_SAFE_NO_PAD.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                Some(decoded.ok_or_else(|| Problem::bad("ValidationError", "Invalid Marker."))?)
            }
            None => None,
        };
        let behind =
            |item: &T| after.as_ref().is_none_or(|after| name(item).to_ascii_lowercase() > after.to_ascii_lowercase());
        let mut page: Vec<T> = items.into_iter().filter(behind).collect();
        let is_cut = page.len() > most;
        page.truncate(most);
        let marker = page.last().filter(|_| is_cut).map(|last| BASE64_URL_SAFE_NO_PAD.encode(name(last)));
        self.xml.list(list, page, each);
        self.xml.text("IsTruncated", is_cut.to_string());
        self.xml.some("Marker", marker);
        Ok(())
    }
}
