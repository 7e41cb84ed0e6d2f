//! stub
use crate::layout::{ChunkId, Placement, VolumeSlot};
use crate::volumes::VolumeSet;
#[derive(Debug)]
pub struct Ring;
#[derive(Debug, Clone, thiserror::Error)]
#[error("stub")]
pub struct PlacementError;
impl Ring {
    pub fn of(_: &VolumeSet) -> Self {
        Ring
    }
    pub fn place(&self, _c: ChunkId, _e: &[VolumeSlot]) -> Result<Placement, PlacementError> {
        Err(PlacementError)
    }
    pub fn replace(&self, _c: ChunkId, p: &Placement, _l: &[usize], _e: &[VolumeSlot]) -> Placement {
        *p
    }
}
