//! Who may do what: credentials, what a request claims about who sent it, and the policies and ACLs that decide.

pub mod acl;
pub mod claims;
mod directory;
pub mod form;
mod identity;
pub mod names;
pub mod policy;
pub(crate) mod private_file;
pub mod query;
mod resources;
mod root;
pub mod seal;
mod secret;
pub mod sigv4;
pub mod version2;

pub use directory::{
    Directory, DirectoryError, Holder, Key, KeyError, Known, LastUse, NewSession, SESSION_POLICIES, Session,
    SessionError,
};
pub use identity::{Account, Federation, Identity, Kind, PublicAccessBlock};
pub use private_file::PrivateFileError;
pub use resources::{BucketRules, ObjectRules, Resources, Seen, UploadRules};
pub use root::{RootCredentials, RootError, RootSource};
pub use secret::Secret;
