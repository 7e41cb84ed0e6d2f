//! The volumes that this instance has open: those of the table, as it is now.
//!
//! Commands change the table; every instance follows it, at its heartbeat's pace, and says how it finds each volume.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::layout::VolumeSlot;
use crate::metadata::{self, InstanceId, Metadata, VolumeReport, VolumeRow};
use crate::volumes::{FormatError, Identity, IdentityError, IoConfig, LocalVolume, Location, Member, VolumeSet};

/// Why a volume cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum VolumeOpenError {
    /// The database's answer.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// A volume's directory could not be made.
    #[error("volume {volume}: {source}")]
    Format {
        /// The volume's name.
        volume: String,
        /// Why.
        source: FormatError,
    },
    /// A new volume's path is a volume already: of another deployment, or another one of this.
    #[error("volume {volume}: {path} already is volume {found} of deployment {deployment}")]
    Foreign {
        /// The volume's name.
        volume: String,
        /// Where.
        path: PathBuf,
        /// What it is.
        found: String,
        /// Whose.
        deployment: String,
    },
    /// A new volume's path could not be looked at.
    #[error("volume {volume}: {source}")]
    Identify {
        /// The volume's name.
        volume: String,
        /// Why.
        source: IdentityError,
    },
    /// A volume's threads could not be started.
    #[error("volume {volume}: its threads could not be started: {source}")]
    Threads {
        /// The volume's name.
        volume: String,
        /// Why.
        source: io::Error,
    },
    /// A blocking task ended early.
    #[error("a worker ended before its work was done")]
    Worker,
}

/// Keeps a [`VolumeSet`] as the table of volumes says.
#[derive(Debug)]
pub struct Roster {
    metadata: Metadata,
    deployment: String,
    io: IoConfig,
    set: VolumeSet,
    /// Volumes that are not named any more: they take no new shards, whatever the table says.
    retired: BTreeSet<VolumeSlot>,
    /// The rows as which the members were opened.
    opened: Mutex<BTreeMap<VolumeSlot, VolumeRow>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Roster {
    /// Opens the volumes of these rows. Directories that were never made are made now.
    ///
    /// # Errors
    /// A new volume's directory cannot be made. One that is away is no error: it is failed until it comes back.
    pub async fn open(
        metadata: Metadata,
        deployment: String,
        rows: Vec<VolumeRow>,
        retired: BTreeSet<VolumeSlot>,
        io: IoConfig,
    ) -> Result<Self, VolumeOpenError> {
        let set = VolumeSet::default();
        let roster =
            Self { metadata, deployment, io, set, retired, opened: Mutex::default(), turn: Default::default() };
        for mut row in rows {
            if !row.formatted {
                make(&row, &roster.deployment).await?;
                roster.metadata.set_formatted(row.slot).await?;
                row.formatted = true;
            }
            roster.admit(row)?;
        }
        roster.set.check_all().await;
        Ok(roster)
    }

    /// The volumes.
    pub fn set(&self) -> &VolumeSet {
        &self.set
    }

    /// Opens what was added, opens again what is elsewhere or has a new disk, closes what was removed, and drains what is to be
    /// emptied.
    ///
    /// # Errors
    /// The database's. A volume that cannot be opened is left out, and tried again the next time.
    pub async fn refresh(&self) -> Result<(), metadata::Error> {
        let _turn = self.turn.lock().await;
        let rows = self.metadata.volumes().await?;
        let gone: Vec<VolumeSlot> = {
            let opened = self.opened();
            // What has no directory yet is somebody's to make, and not here so far.
            opened.keys().copied().filter(|slot| rows.iter().all(|row| row.slot != *slot || !row.formatted)).collect()
        };
        for slot in gone {
            tracing::info!(volume = %slot, "a volume was removed, or waits for its new disk");
            self.opened().remove(&slot);
            self.set.remove(slot);
        }
        for row in rows.into_iter().filter(|row| row.formatted) {
            let before = self.opened().get(&row.slot).cloned();
            match before {
                Some(before) if before == row => {}
                Some(before) if before.spec == row.spec && before.epoch == row.epoch => {
                    if let Some(member) = self.set.get(row.slot) {
                        member.set_draining(row.draining || self.retired.contains(&row.slot));
                    }
                    self.opened().insert(row.slot, row);
                }
                _ => {
                    let name = row.spec.id.clone();
                    match self.admit(row) {
                        Ok(member) => {
                            tracing::info!(volume = name, "a volume was opened");
                            // What this finds is in its status.
                            drop(member.check().await);
                        }
                        Err(error) => tracing::warn!(volume = name, %error, "a volume could not be opened"),
                    }
                }
            }
        }
        Ok(())
    }

    /// Says how this instance finds its volumes.
    ///
    /// # Errors
    /// The database's.
    pub async fn report(&self, instance: InstanceId) -> Result<(), metadata::Error> {
        let members = self.set.members();
        let reports: Vec<VolumeReport> = members
            .values()
            .map(|member| {
                let usage = member.usage();
                VolumeReport {
                    slot: member.slot(),
                    status: member.status().to_string(),
                    full: member.is_full(),
                    used: usage.used,
                    capacity: usage.capacity,
                    error: member.last_error(),
                }
            })
            .collect();
        self.metadata.report_volumes(instance, &reports).await
    }

    fn admit(&self, row: VolumeRow) -> Result<Arc<Member>, VolumeOpenError> {
        let spec = &row.spec;
        let io = IoConfig { capacity: spec.capacity, ..self.io.clone() };
        let volume = LocalVolume::open(&spec.path, identity(&row, &self.deployment), io)
            .map_err(|source| VolumeOpenError::Threads { volume: spec.id.clone(), source })?;
        let location = Location {
            node: spec.node.as_str().into(),
            zone: spec.zone.as_str().into(),
            region: spec.region.as_str().into(),
            weight: spec.weight,
        };
        let member = Member::new(Arc::new(volume), location);
        member.set_draining(row.draining || self.retired.contains(&row.slot));
        let member = self.set.insert(member);
        self.opened().insert(row.slot, row);
        Ok(member)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<VolumeSlot, VolumeRow>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a volume's directory must say it is.
pub fn identity(row: &VolumeRow, deployment: &str) -> Identity {
    Identity { deployment: deployment.to_owned(), volume: row.spec.id.clone(), slot: row.slot, epoch: row.epoch }
}

/// Makes a new volume's directory. One that was made before by somebody who then stopped short of saying so is the same.
///
/// # Errors
/// It is another volume, or not empty.
pub async fn make(row: &VolumeRow, deployment: &str) -> Result<(), VolumeOpenError> {
    let (identity, path) = (identity(row, deployment), PathBuf::from(&row.spec.path));
    tokio::task::spawn_blocking(move || make_blocking(&path, &identity)).await.map_err(|_| VolumeOpenError::Worker)?
}

fn make_blocking(path: &Path, identity: &Identity) -> Result<(), VolumeOpenError> {
    let volume = identity.volume.clone();
    match LocalVolume::identify(path) {
        Ok(None) => LocalVolume::format(path, identity).map_err(|source| VolumeOpenError::Format { volume, source }),
        Ok(Some(found)) if found == *identity => Ok(()),
        Ok(Some(found)) => Err(VolumeOpenError::Foreign {
            volume,
            path: path.to_owned(),
            found: found.volume,
            deployment: found.deployment,
        }),
        Err(source) => Err(VolumeOpenError::Identify { volume, source }),
    }
}
