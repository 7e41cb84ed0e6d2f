//! S3 as `s3s` speaks it: the one place, with the server's edge, that names its types.

pub mod auth;
pub mod guard;
pub mod host;
