//! A test instrument: volumes whose power is cut.
//!
//! [`PowerVolume`] wraps a volume of which the directory is known, and remembers of every file what is on stable storage: what was
//! synced since it was written, and names only once the directory was. [`Power::cut`] makes all volumes on it answer nothing
//! but errors, and leaves in their directories what such a cut may leave: everything that was synced, and of the rest some
//! sectors, here and there, or nothing. A writer that forgets to sync loses what it acknowledged.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::directory::lock;
use super::{Quarantined, Result, Usage, Volume, VolumeError};
use crate::clock::Millis;
use crate::layout::{ShardName, VolumeSlot};

/// What a disk writes at once, whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The power of some volumes. Clones are the same.
#[derive(Debug, Clone)]
pub struct Power(Arc<Supply>);

#[derive(Debug)]
struct Supply {
    /// Held by every operation while it is under way, and by the cut.
    on: RwLock<bool>,
    disks: Mutex<Vec<Arc<Disk>>>,
}

/// What is on one volume.
#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    files: Mutex<HashMap<ShardName, File>>,
}

#[derive(Debug, Default)]
struct File {
    /// Content on stable storage.
    stable: Vec<u8>,
    /// Whether its name is.
    named: bool,
    /// Whether it was removed: a removal is not synced, and may be undone.
    removed: bool,
    /// Writes since the last sync: where, and what.
    pending: Vec<(u64, Vec<u8>)>,
}

impl File {
    fn settle(&mut self) {
        for (position, bytes) in std::mem::take(&mut self.pending) {
            put(&mut self.stable, position, &bytes);
        }
        self.named = true;
    }
}

fn put(content: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let start = position as usize;
    if content.len() < start + bytes.len() {
        content.resize(start + bytes.len(), 0);
    }
    content[start..start + bytes.len()].copy_from_slice(bytes);
}

impl Default for Power {
    fn default() -> Self {
        Self(Arc::new(Supply { on: RwLock::new(true), disks: Mutex::default() }))
    }
}

impl Power {
    /// Cuts the power. `chance` decides what of the unsynced becomes of it: it answers numbers below its argument.
    ///
    /// # Errors
    /// The directories could not be written.
    pub async fn cut(&self, mut chance: impl FnMut(u64) -> u64) -> io::Result<()> {
        let mut on = self.0.on.write().await;
        *on = false;
        for disk in lock(&self.0.disks).iter() {
            for (name, file) in lock(&disk.files).iter() {
                let path = disk.directory.join(format!("shards/{:02x}/{name}", name.chunk.fan_out()));
                let back = file.removed && chance(2) == 0;
                if (file.removed && !back) || (!file.named && chance(2) == 0) {
                    remove(&path)?;
                    continue;
                }
                let mut content = file.stable.clone();
                // Writes may reach the disk in any order, and each of them in part.
                for (position, bytes) in &file.pending {
                    for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                        if chance(2) == 0 {
                            put(&mut content, position + (at * SECTOR) as u64, sector);
                        }
                    }
                }
                std::fs::write(path, content)?;
            }
        }
        Ok(())
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A volume that does what the one in it does, while there is power.
#[derive(Debug)]
pub struct PowerVolume<V> {
    inner: V,
    power: Power,
    disk: Arc<Disk>,
}

impl<V: Volume> PowerVolume<V> {
    /// Wraps `inner`, whose directory this is. Files that are in it already are taken for stable.
    pub fn new(inner: V, directory: PathBuf, power: &Power) -> Self {
        let disk = Arc::new(Disk { directory, files: Mutex::default() });
        lock(&power.0.disks).push(Arc::clone(&disk));
        Self { inner, power: power.clone(), disk }
    }

    /// Lets an operation begin, if there is power; the cut waits for its end.
    async fn powered(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let on = self.power.0.on.read().await;
        if *on {
            return Ok(on);
        }
        Err(VolumeError::Unavailable { volume: Arc::clone(self.inner.name()), reason: "the power was cut".into() })
    }

    fn with<T>(&self, shard: ShardName, change: impl FnOnce(&mut File) -> T) -> T {
        change(lock(&self.disk.files).entry(shard).or_default())
    }

    fn wrote(&self, shard: ShardName, mut position: u64, pieces: &[Bytes]) {
        self.with(shard, |file| {
            for piece in pieces {
                file.pending.push((position, piece.to_vec()));
                position += piece.len() as u64;
            }
        });
    }
}

#[async_trait]
impl<V: Volume> Volume for PowerVolume<V> {
    fn slot(&self) -> VolumeSlot {
        self.inner.slot()
    }

    fn name(&self) -> &Arc<str> {
        self.inner.name()
    }

    async fn create(&self, shard: ShardName, header: Bytes) -> Result<()> {
        let _on = self.powered().await?;
        // Noted first: a creation or write that fails may have been done all the same.
        self.wrote(shard, 0, std::slice::from_ref(&header));
        self.inner.create(shard, header).await
    }

    async fn write(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        let _on = self.powered().await?;
        self.wrote(shard, position, &pieces);
        self.inner.write(shard, position, pieces).await
    }

    async fn write_through(&self, shard: ShardName, position: u64, pieces: Vec<Bytes>) -> Result<()> {
        let _on = self.powered().await?;
        self.wrote(shard, position, &pieces);
        self.inner.write_through(shard, position, pieces).await?;
        self.with(shard, File::settle);
        Ok(())
    }

    async fn close(&self, shard: ShardName) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.close(shard).await
    }

    async fn sync(&self, shard: ShardName) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.sync(shard).await?;
        self.with(shard, File::settle);
        Ok(())
    }

    async fn read(&self, shard: ShardName, position: u64, len: usize) -> Result<Bytes> {
        let _on = self.powered().await?;
        self.inner.read(shard, position, len).await
    }

    async fn remove(&self, shard: ShardName) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.remove(shard).await?;
        if let Some(file) = lock(&self.disk.files).get_mut(&shard) {
            file.removed = true;
        }
        Ok(())
    }

    async fn quarantine(&self, shard: ShardName) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.quarantine(shard).await?;
        lock(&self.disk.files).remove(&shard);
        Ok(())
    }

    async fn list(&self, fan_out: u8) -> Result<Vec<ShardName>> {
        let _on = self.powered().await?;
        self.inner.list(fan_out).await
    }

    async fn present(&self, shards: Vec<ShardName>) -> Result<Vec<(ShardName, u64)>> {
        let _on = self.powered().await?;
        self.inner.present(shards).await
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>> {
        let _on = self.powered().await?;
        self.inner.quarantined(limit).await
    }

    async fn purge(&self, before: Millis, limit: usize) -> Result<usize> {
        let _on = self.powered().await?;
        self.inner.purge(before, limit).await
    }

    /// On stable storage at once: its rename and its syncs are one step here.
    async fn put_document(&self, name: &str, content: Bytes) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.put_document(name, content).await
    }

    async fn documents(&self) -> Result<Vec<String>> {
        let _on = self.powered().await?;
        self.inner.documents().await
    }

    async fn document(&self, name: &str) -> Result<Option<Bytes>> {
        let _on = self.powered().await?;
        self.inner.document(name).await
    }

    async fn remove_document(&self, name: &str) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.remove_document(name).await
    }

    async fn usage(&self) -> Result<Usage> {
        let _on = self.powered().await?;
        self.inner.usage().await
    }

    async fn probe(&self) -> Result<()> {
        let _on = self.powered().await?;
        self.inner.probe().await
    }
}
