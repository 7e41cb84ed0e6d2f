//! Snapshots of the metadata, kept as data on the volumes, and the way back from them when the database is gone.
//!
//! [`Snapshot`] is the job that makes them: a dump of all tables as they are at one moment ([`format`]), written like any large data,
//! and a [`Manifest`] on every volume that says where it is. With SQLite, [`LogWriter`] writes what transactions changed since, a moment
//! later. [`restore`] needs the volumes alone.

pub mod format;
mod log;
mod manifest;
mod newer;
mod restore;
mod take;

pub use log::{ChangeLogging, LogWriter};
pub use manifest::{Manifest, ManifestError};
pub use newer::{Named, Report};
pub use restore::{Found, RestoreError, Restored, SnapshotFiles, Source, restore};
pub use take::{SNAPSHOT, Snapshot, SnapshotConfig};
