//! Putting shards somewhere else, as healing, draining and rebalancing do: announced, written, verified, switched.

use std::sync::Arc;
use std::time::Duration;

use crate::chunks::{ChunkError, Pace, Source, Target};
use crate::crash;
use crate::layout::{ShardName, ShardSet, StoredChunk, VolumeSlot};
use crate::metadata;
use crate::objects::Store;

/// Writes shards anew and has SQL know where they are.
#[derive(Debug, Clone)]
pub struct Mover {
    store: Store,
    pace: Arc<Pace>,
    config: MoverConfig,
}

/// How shards are moved.
#[derive(Debug, Clone)]
pub struct MoverConfig {
    /// Bytes read and written per second; 0: as fast as can be.
    pub bytes_per_second: u64,
    /// How long a file may be in the making before it counts as given up, and is removed.
    pub patience: Duration,
    /// How long the file that a shard was before is kept, for those who still read it.
    pub grace: Duration,
    /// Chunks worked at at a time.
    pub at_once: usize,
    /// How long after its end a drain that could not move everything is tried again.
    pub again: Duration,
}

impl Default for MoverConfig {
    fn default() -> Self {
        Self {
            bytes_per_second: 128 << 20,
            patience: Duration::from_secs(3600),
            grace: Duration::from_secs(60),
            at_once: 2,
            again: Duration::from_secs(600),
        }
    }
}

/// What became of shards that were to be moved.
#[derive(Debug, Default)]
pub struct Moved {
    /// Shards that are where they should be, verified.
    pub moved: ShardSet,
    /// Those that are not, and why.
    pub failed: Vec<(usize, String)>,
    /// Bytes read and written.
    pub bytes: u64,
    /// Whether a stripe has fewer than six good blocks.
    pub damaged: bool,
}

impl Mover {
    /// A mover of the shards of `store`. All clones share one pace.
    pub fn new(store: Store, config: MoverConfig) -> Self {
        Self { store, pace: Arc::new(Pace::new(config.bytes_per_second)), config }
    }

    /// Its pace.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// How long after its end a drain that could not move everything is tried again.
    pub fn again(&self) -> Duration {
        self.config.again
    }

    /// Chunks worked at at a time.
    pub fn at_once(&self) -> usize {
        self.config.at_once.max(1)
    }

    /// Writes these shards of a chunk to these volumes, all in one pass, and switches them.
    ///
    /// # Errors
    /// The database's. What was announced then is removed when its time is up.
    pub async fn put(
        &self,
        chunk: &StoredChunk,
        wanted: &[(usize, VolumeSlot)],
        source: Source,
    ) -> Result<Moved, metadata::Error> {
        let db = self.store.metadata();
        let mut moved = Moved::default();
        let mut targets = Vec::with_capacity(wanted.len());
        for &(shard, volume) in wanted {
            let from = chunk.placement.0.get(shard).copied().flatten();
            match db.announce_shard(chunk.id, shard as u8, from, volume, self.config.patience).await? {
                Some(to) => targets.push(Target { shard, to, source }),
                None => moved.failed.push((shard, "it was moved, or its chunk died, meanwhile".into())),
            }
        }
        if targets.is_empty() {
            return Ok(moved);
        }
        crash::point("shard.announced");
        let outcome = self.store.chunks().rewrite(chunk, &targets, &self.pace).await;
        let (written, failed) = match outcome {
            Ok(rewritten) => {
                moved.bytes = rewritten.bytes;
                (rewritten.written, rewritten.failed)
            }
            Err(error) => {
                moved.damaged = matches!(error, ChunkError::TooFewRead { .. });
                let reason = error.to_string();
                (Vec::new(), targets.iter().map(|target| (*target, reason.clone())).collect())
            }
        };
        if !written.is_empty() {
            crash::point("shard.written");
        }
        for target in written {
            let from = chunk.placement.0.get(target.shard).copied().flatten();
            let shard = target.shard as u8;
            if db.switch_slot(chunk.id, shard, from, target.to, self.config.grace).await? {
                moved.moved.insert(target.shard);
                crash::point("shard.switched");
            } else {
                self.withdraw(chunk, &target).await?;
                moved.failed.push((target.shard, "it was moved, or its chunk died, meanwhile".into()));
            }
        }
        for (target, reason) in failed {
            self.withdraw(chunk, &target).await?;
            moved.failed.push((target.shard, reason));
        }
        Ok(moved)
    }

    async fn withdraw(&self, chunk: &StoredChunk, target: &Target) -> Result<(), metadata::Error> {
        let name = ShardName { chunk: chunk.id, shard: target.shard as u8, generation: target.to.generation };
        self.store.metadata().withdraw_shard(target.to.volume, name).await
    }
}
