//! The order of versions and delete markers in a listing.
//!
//! S3 lists them in one row, by key and then the newest first, and clients rely on it (MinIO's show what they read as it comes);
//! `s3s` keeps two lists and writes one behind the other.

use std::borrow::Cow;

/// In the extensions of a ListObjectVersions' answer: which of what is listed is a delete marker, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionOrder(pub Vec<bool>);

impl VersionOrder {
    /// The document with its versions and delete markers in this order. What is not as `s3s` writes it is left as it is.
    pub(super) fn apply<'a>(&self, xml: &'a str) -> Cow<'a, str> {
        let (versions, markers) = (elements(xml, "Version"), elements(xml, "DeleteMarker"));
        let count = |markers: bool| self.0.iter().filter(|marker| **marker == markers).count();
        if (versions.len(), markers.len()) != (count(false), count(true)) || markers.is_empty() {
            return Cow::Borrowed(xml);
        }
        let mut all: Vec<_> = versions.iter().chain(&markers).copied().collect();
        all.sort_unstable();
        let mut ordered = String::with_capacity(xml.len());
        let (mut versions, mut markers) = (versions.into_iter(), markers.into_iter());
        let mut row = String::new();
        for marker in &self.0 {
            let next = if *marker { markers.next() } else { versions.next() };
            row.push_str(next.and_then(|(start, end)| xml.get(start..end)).unwrap_or_default());
        }
        let mut rest = 0;
        for (number, (start, end)) in all.into_iter().enumerate() {
            ordered.push_str(xml.get(rest..start).unwrap_or_default());
            if number == 0 {
                ordered.push_str(&row);
            }
            rest = end;
        }
        ordered.push_str(xml.get(rest..).unwrap_or_default());
        Cow::Owned(ordered)
    }
}

/// Where the elements of a name begin and end; none of them is within another. Text has no `<` of its own.
pub(super) fn elements(xml: &str, name: &str) -> Vec<(usize, usize)> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = xml.get(from..).and_then(|rest| rest.find(&open)).map(|at| from + at) {
        let Some(end) = xml.get(start..).and_then(|rest| rest.find(&close)).map(|at| start + at + close.len()) else {
            break;
        };
        found.push((start, end));
        from = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_markers_are_one_row() {
        let version = |n: u32| format!("<Version><Key>k</Key><VersionId>{n}</VersionId></Version>");
        let marker = |n: u32| format!("<DeleteMarker><Key>k</Key><VersionId>{n}</VersionId></DeleteMarker>");
        let document = |row: &[String]| format!("<?xml?><R><Prefix>p</Prefix>{}<Name>n</Name></R>", row.concat());
        let given = document(&[marker(3), marker(5), version(1), version(2), version(4)]);
        let order = VersionOrder(vec![false, false, true, false, true]);
        assert_eq!(order.apply(&given), document(&[version(1), version(2), marker(3), version(4), marker(5)]));
        // Elements may stand between the two lists.
        let apart = format!("<R>{}<Name>n</Name>{}</R>", marker(2), version(1));
        let order = VersionOrder(vec![false, true]);
        assert_eq!(order.apply(&apart), format!("<R>{}{}<Name>n</Name></R>", version(1), marker(2)));
        // Another number of them is none of ours.
        assert_eq!(VersionOrder(vec![true]).apply(&given), given);
        assert_eq!(VersionOrder(Vec::new()).apply("<R/>"), "<R/>");
    }
}
