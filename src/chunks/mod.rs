//! Object bytes in chunks: coded, placed, written, verified and read back.

pub mod codec;
pub mod format;
pub mod placement;
