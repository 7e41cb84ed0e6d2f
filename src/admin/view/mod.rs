//! What is shown of identities and of the store's work: by commands with `--json`, and by the administrative API, in the same words.
//!
//! Moments are milliseconds since the beginning of 1970.

mod identities;
mod operation;

pub use identities::{
    Account, AccountDetails, Credentials, Key, NewAccount, Policy, PolicyDetails, PolicyVersion, Principal,
    PrincipalDetails,
};
pub use operation::{BucketUsage, Chunks, HealQueue, Instance, Job, Report, Snapshot, Status, Usage, Volume};

use serde_json::Value;

/// A document as JSON, or as the text that it is.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
