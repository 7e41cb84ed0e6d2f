//! Who is told of what happens in a bucket.
//!
//! Source: "Amazon S3 Event Notifications" in the Amazon S3 user guide.

/// Whom to tell of what.
///
/// `QueueConfiguration`, `TopicConfiguration` and `LambdaFunctionConfiguration` in the Amazon S3 API reference, which differ in the
/// kind of target alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its name, which no other of the bucket has.
    pub id: String,
    /// The target's ARN.
    pub target: String,
    /// S3's names of the events.
    pub events: Vec<String>,
    /// Only of keys that begin so.
    pub prefix: Option<String>,
    /// Only of keys that end so.
    pub suffix: Option<String>,
}

impl Notification {
    /// Whether something could happen that both tell of.
    pub fn overlaps(&self, other: &Self) -> bool {
        let same = |a: &String, b: &String| {
            let covers = |wide: &String, narrow: &String| {
                wide == narrow || wide.strip_suffix('*').is_some_and(|start| narrow.starts_with(start))
            };
            covers(a, b) || covers(b, a)
        };
        let meet = |a: &Option<String>, b: &Option<String>, ends: fn(&str, &str) -> bool| match (a, b) {
            (Some(a), Some(b)) => ends(a, b) || ends(b, a),
            _ => true,
        };
        self.events.iter().any(|event| other.events.iter().any(|theirs| same(event, theirs)))
            && meet(&self.prefix, &other.prefix, |a, b| a.starts_with(b))
            && meet(&self.suffix, &other.suffix, |a, b| a.ends_with(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> Notification {
        Notification {
            id: String::new(),
            target: String::new(),
            events: events.iter().map(|&event| event.to_owned()).collect(),
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
        }
    }

    #[test]
    fn two_overlap_if_one_event_is_told_by_both() {
        let (put, created, removed) = ("s3:ObjectCreated:Put", "s3:ObjectCreated:*", "s3:ObjectRemoved:*");
        for (a, b, expected) in [
            (of(&[put], None, None), of(&[put], None, None), true),
            (of(&[put], None, None), of(&[removed, created], None, None), true),
            (of(&[put], None, None), of(&[removed], None, None), false),
            (of(&[put], Some("a/"), None), of(&[put], Some("a/b"), None), true),
            (of(&[put], Some("a/"), None), of(&[put], Some("b/"), None), false),
            (of(&[put], Some("a/"), None), of(&[put], None, Some(".jpg")), true),
            (of(&[put], Some("a/"), Some(".jpg")), of(&[put], Some("a/"), Some(".png")), false),
            (of(&[put], None, Some(".jpg")), of(&[put], None, Some("g")), true),
        ] {
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (expected, expected), "{a:?} {b:?}");
        }
    }
}
