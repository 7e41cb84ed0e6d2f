//! Object Lock: what keeps a version from being deleted, and who may loosen it.
//!
//! Source: "How S3 Object Lock works" in the Amazon S3 user guide.

use serde::{Deserialize, Serialize};

use super::{Error, Result, VersionId};
use crate::access::acl::Acl;
use crate::clock::Millis;

/// How strictly a version is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Who has the permission to bypass it may loosen it.
    #[serde(rename = "GOVERNANCE")]
    Governance,
    /// Nobody may.
    #[serde(rename = "COMPLIANCE")]
    Compliance,
}

impl RetentionMode {
    /// S3's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.name() == name)
    }
}

/// Until when a version is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// The first moment at which it may be deleted.
    pub until: Millis,
}

/// What locks a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectLock {
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Whether a legal hold is on it; `None`: that was never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

impl ObjectLock {
    /// Whether nothing was said at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version may not be deleted now.
    pub fn holds(&self, now: Millis, bypass: bool) -> bool {
        let retained = self
            .retention
            .is_some_and(|retention| retention.until > now && !(bypass && retention.mode == RetentionMode::Governance));
        retained || self.legal_hold == Some(true)
    }

    /// Whether its retention may become `new`. What is retained by compliance may only be retained longer; what is by governance, too,
    /// unless who asks may bypass that.
    pub fn may_become(&self, new: Option<Retention>, now: Millis, bypass: bool) -> bool {
        let Some(old) = self.retention.filter(|retention| retention.until > now) else { return true };
        let extends = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
        extends || (bypass && old.mode == RetentionMode::Governance)
    }
}

/// A period of retention, counted from when a version is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// Days.
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

impl Period {
    fn millis(self) -> Millis {
        const DAY: Millis = 24 * 60 * 60 * 1000;
        match self {
            Self::Days(days) => Millis::from(days) * DAY,
            Self::Years(years) => Millis::from(years) * 365 * DAY,
        }
    }
}

/// The retention of versions whose writers say nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// How long.
    pub period: Period,
}

/// The Object Lock configuration of a bucket that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketLock {
    /// Of versions whose writers say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<DefaultRetention>,
}

impl BucketLock {
    /// The lock of a version written now, of which its writer said `asked`.
    pub(super) fn apply(&self, asked: ObjectLock, now: Millis) -> ObjectLock {
        let default = || {
            let default = self.retention?;
            Some(Retention { mode: default.mode, until: now.saturating_add(default.period.millis()) })
        };
        ObjectLock { retention: asked.retention.or_else(default), ..asked }
    }
}

/// What an operation changes of a version that is there.
#[derive(Debug, Clone)]
pub enum VersionChange {
    /// Its tags.
    Tags(super::Tags),
    /// Its ACL; `None`: it is its owner's alone.
    Acl(Option<Acl>),
    /// Its retention; `None` takes it away.
    Retention {
        /// What it is to be.
        retention: Option<Retention>,
        /// Whether who asks may bypass governance, and says so.
        bypass: bool,
    },
    /// Its legal hold.
    LegalHold(bool),
}

impl VersionChange {
    /// Whether it is about the lock, which not all buckets have.
    pub(super) fn is_of_lock(&self) -> bool {
        matches!(self, Self::Retention { .. } | Self::LegalHold(_))
    }

    /// The lock after the change; `None` if it is not about the lock.
    ///
    /// # Errors
    /// [`Error::ObjectLocked`].
    pub(super) fn lock(
        &self,
        old: ObjectLock,
        now: Millis,
        bucket: &str,
        key: &str,
        version: &VersionId,
    ) -> Result<Option<ObjectLock>> {
        match self {
            Self::Tags(_) | Self::Acl(_) => Ok(None),
            Self::LegalHold(on) => Ok(Some(ObjectLock { legal_hold: Some(*on), ..old })),
            Self::Retention { retention, bypass } => {
                if !old.may_become(*retention, now, *bypass) {
                    let (bucket, key) = (bucket.to_owned(), key.to_owned());
                    return Err(Error::ObjectLocked { bucket, key, version: version.clone() });
                }
                Ok(Some(ObjectLock { retention: *retention, ..old }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(mode: RetentionMode, until: Millis) -> ObjectLock {
        ObjectLock { retention: Some(Retention { mode, until }), legal_hold: None }
    }

    #[test]
    fn what_is_locked_is_not_deleted() {
        use RetentionMode::{Compliance, Governance};
        assert!(!ObjectLock::default().holds(10, false));
        assert!(kept(Governance, 11).holds(10, false));
        assert!(!kept(Governance, 11).holds(10, true));
        assert!(kept(Compliance, 11).holds(10, true));
        assert!(!kept(Compliance, 10).holds(10, false), "it is over at that very moment");
        let held = ObjectLock { legal_hold: Some(true), retention: None };
        assert!(held.holds(i64::MAX, true), "a legal hold has no end");
        assert!(!ObjectLock { legal_hold: Some(false), retention: None }.holds(0, false));
    }

    #[test]
    fn retention_is_extended_by_all_and_loosened_by_few() {
        use RetentionMode::{Compliance, Governance};
        let new = |mode, until| Some(Retention { mode, until });
        for (old, wanted, bypass, allowed) in [
            (kept(Governance, 100), new(Governance, 200), false, true),
            (kept(Governance, 100), new(Governance, 50), false, false),
            (kept(Governance, 100), new(Governance, 50), true, true),
            (kept(Governance, 100), None, false, false),
            (kept(Governance, 100), None, true, true),
            (kept(Governance, 100), new(Compliance, 200), false, false),
            (kept(Governance, 100), new(Compliance, 200), true, true),
            (kept(Compliance, 100), new(Compliance, 200), false, true),
            (kept(Compliance, 100), new(Compliance, 99), true, false),
            (kept(Compliance, 100), new(Governance, 200), true, false),
            (kept(Compliance, 100), None, true, false),
            // What is over binds nobody.
            (kept(Compliance, 10), None, false, true),
            (ObjectLock::default(), new(Governance, 50), false, true),
        ] {
            assert_eq!(old.may_become(wanted, 10, bypass), allowed, "{old:?} to {wanted:?}, bypass {bypass}");
        }
    }

    #[test]
    fn a_bucket_locks_what_its_writers_leave_open() {
        let retention = Some(DefaultRetention { mode: RetentionMode::Governance, period: Period::Days(2) });
        let bucket = BucketLock { retention };
        let day = 86_400_000;
        assert_eq!(bucket.apply(ObjectLock::default(), 5), kept(RetentionMode::Governance, 5 + 2 * day));
        let asked = kept(RetentionMode::Compliance, 7);
        assert_eq!(bucket.apply(asked, 5), asked);
        assert!(BucketLock::default().apply(ObjectLock::default(), 5).is_none());
    }
}
