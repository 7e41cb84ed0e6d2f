//! The names of events.
//!
//! Sources: "Event notification types and destinations" in the Amazon S3 user guide; MinIO's documentation of bucket notifications, which
//! has names for reads, for buckets, and for locks.

use std::fmt;

macro_rules! events {
    ($($event:ident => $name:literal,)*) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "they say what they are")]
        pub enum EventName {
            $($event,)*
        }

        impl EventName {
            const ALL: &[Self] = &[$(Self::$event,)*];

            /// The name, with `s3:`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)*
                }
            }
        }
    };
}

events! {
    CreatedPut => "s3:ObjectCreated:Put",
    CreatedPost => "s3:ObjectCreated:Post",
    CreatedCopy => "s3:ObjectCreated:Copy",
    CreatedCompleteMultipartUpload => "s3:ObjectCreated:CompleteMultipartUpload",
    CreatedPutRetention => "s3:ObjectCreated:PutRetention",
    CreatedPutLegalHold => "s3:ObjectCreated:PutLegalHold",
    TaggingPut => "s3:ObjectTagging:Put",
    TaggingDelete => "s3:ObjectTagging:Delete",
    AclPut => "s3:ObjectAcl:Put",
    RemovedDelete => "s3:ObjectRemoved:Delete",
    RemovedDeleteMarkerCreated => "s3:ObjectRemoved:DeleteMarkerCreated",
    AccessedGet => "s3:ObjectAccessed:Get",
    AccessedHead => "s3:ObjectAccessed:Head",
    AccessedAttributes => "s3:ObjectAccessed:Attributes",
    BucketCreated => "s3:BucketCreated:*",
    BucketRemoved => "s3:BucketRemoved:*",
}

use EventName::*;

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that nothing can be told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no such event.
    #[error("there is no event of this name")]
    Unknown,
    /// It would be something that is not done here.
    #[error("nothing of this name happens here")]
    NotBuilt,
}

/// Beginnings of names that S3 and MinIO have for what is not done here.
const NOT_BUILT: [&str; 10] = [
    "s3:IntelligentTiering",
    "s3:Lifecycle",
    "s3:ObjectAccessed:Get",
    "s3:ObjectAcl:",
    "s3:ObjectRemoved:",
    "s3:ObjectRestore:",
    "s3:ObjectTransition:",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:",
    "s3:Scanner:",
];

/// A set of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventNames(u32);

impl EventNames {
    /// What somebody wants who says this name: one event, or with `*` at its end all that begin so. MinIO counts tagging as creating.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let minio = match name {
            "s3:ObjectCreated:PutTagging" => Some(TaggingPut),
            "s3:ObjectCreated:DeleteTagging" => Some(TaggingDelete),
            _ => None,
        };
        let exactly = |one: &EventName| Some(*one) == minio || one.name() == name;
        let mut all: Self = EventName::ALL.iter().copied().filter(exactly).collect();
        if let "s3:ObjectCreated:*" | "s3:ObjectRemoved:*" | "s3:ObjectAccessed:*" | "s3:ObjectTagging:*" = name {
            let start = name.trim_end_matches('*');
            all = EventName::ALL.iter().copied().filter(|one| one.name().starts_with(start)).collect();
        }
        if all != Self::default() {
            return Ok(all);
        }
        let known = NOT_BUILT.iter().any(|start| name.starts_with(start));
        Err(if known { NameError::NotBuilt } else { NameError::Unknown })
    }

    /// Whether it is among them.
    pub fn contains(self, name: EventName) -> bool {
        self.0 & 1 << name as u32 != 0
    }

    /// Both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn of_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl FromIterator<EventName> for EventNames {
    fn from_iter<T: IntoIterator<Item = EventName>>(names: T) -> Self {
        Self(names.into_iter().fold(0, |all, name| all | 1 << name as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_beginnings_are_read() {
        for &name in EventName::ALL {
            assert_eq!(EventNames::parse(name.name()), Ok([name].into_iter().collect()));
        }
        let created = EventNames::parse("s3:ObjectCreated:*").unwrap_or_default();
        assert!(
            created.contains(CreatedPut) && created.contains(CreatedPutLegalHold) && !created.contains(RemovedDelete)
        );
        assert_eq!(EventNames::parse("s3:ObjectCreated:PutTagging"), EventNames::parse("s3:ObjectTagging:Put"));
        for (name, error) in [
            ("", NameError::Unknown),
            ("s3:*", NameError::Unknown),
            ("ObjectCreated:Put", NameError::Unknown),
            ("s3:ObjectCreated:P*", NameError::Unknown),
            ("s3:ObjectCreated:put", NameError::Unknown),
            ("s3:Replication:*", NameError::NotBuilt),
            ("s3:ObjectRestore:Post", NameError::NotBuilt),
            ("s3:ObjectRemoved:NoOP", NameError::NotBuilt),
        ] {
            assert_eq!(EventNames::parse(name), Err(error), "{name}");
        }
    }
}
