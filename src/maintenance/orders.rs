//! What an operator orders, by command or over HTTP: rows that ask for work, which running servers do.

use super::{HEAL, drain_job};
use crate::metadata::{Error, Metadata, VolumeRow};

/// Why an order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such volume.
    #[error("there is no volume {0}")]
    NoSuchVolume(String),
    /// A write that has chosen the volume before it was drained would lose a shard.
    #[error("volume {0}: drain it first")]
    NotDraining(String),
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] Error),
}

/// A volume by its name.
///
/// # Errors
/// [`OrderError`]
pub async fn volume(metadata: &Metadata, id: &str) -> Result<VolumeRow, OrderError> {
    let rows = metadata.volumes().await?;
    rows.into_iter().find(|row| row.spec.id == id).ok_or_else(|| OrderError::NoSuchVolume(id.to_owned()))
}

/// Has a volume emptied; answers the job that does it.
///
/// # Errors
/// [`OrderError`]
pub async fn drain(metadata: &Metadata, id: &str) -> Result<String, OrderError> {
    let (row, job) = (volume(metadata, id).await?, drain_job(id));
    metadata.drain_volume(row.slot, &job).await?;
    Ok(job)
}

/// Calls a drain off.
///
/// # Errors
/// [`OrderError`]
pub async fn undrain(metadata: &Metadata, id: &str) -> Result<(), OrderError> {
    let row = volume(metadata, id).await?;
    Ok(metadata.set_draining(row.slot, false).await?)
}

/// Forgets a volume that was drained; answers what it was. Its directory is left as it is.
///
/// # Errors
/// [`OrderError`]
pub async fn remove(metadata: &Metadata, id: &str) -> Result<VolumeRow, OrderError> {
    let row = volume(metadata, id).await?;
    if !row.draining {
        return Err(OrderError::NotDraining(id.to_owned()));
    }
    metadata.dismiss_volume(id).await?;
    Ok(row)
}

/// Asks for a job. Healing tries the shards that could not be healed before as well.
///
/// # Errors
/// [`OrderError`]
pub async fn start(metadata: &Metadata, job: &str) -> Result<(), OrderError> {
    if job == HEAL {
        metadata.heal_all_due().await?;
    }
    metadata.request_job(job).await?;
    Ok(())
}
