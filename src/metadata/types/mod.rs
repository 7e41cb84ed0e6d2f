//! What `metadata` takes and gives: rows as the rest of the store sees them, and the transactions' inputs.

mod buckets;
mod ids;
mod objects;
mod reading;
mod upkeep;
mod uploads;

pub use buckets::*;
pub use ids::*;
pub use objects::*;
pub use reading::*;
pub use upkeep::*;
pub use uploads::*;
