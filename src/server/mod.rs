//! stub
#[derive(Debug, Clone, Copy)]
pub struct StatusOverride(pub http::StatusCode);
