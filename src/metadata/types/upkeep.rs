//! Volumes, instances, leases, and what maintenance and checks go through.

use serde::Serialize;

use super::InstanceId;
use crate::clock::Millis;
use crate::layout::{ChunkId, IdRange, Placement, ShardSet, VolumeSlot};

/// A job's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// Fencing token: larger than every earlier holder's.
    pub token: i64,
    /// Who has it.
    pub holder: InstanceId,
}

/// A range of chunk ids of which nothing commits any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedRange {
    /// The ids.
    pub range: IdRange,
    /// The volumes on which it is swept already.
    pub done: Vec<VolumeSlot>,
    /// Why it was not swept the last time, if that was for a reason.
    pub alarm: Option<String>,
}

/// What became of a range that was swept on some volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// There are volumes on which it still has to be.
    Waiting,
    /// It is swept everywhere, and will be once more.
    Once,
    /// It is no more.
    Gone,
}

/// Something that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The rule that is broken.
    pub what: &'static str,
    /// Of what.
    pub subject: String,
    /// How.
    pub detail: String,
}

/// A page of rows that were checked.
#[derive(Debug, Clone)]
pub struct Checked<T> {
    /// What is wrong with them.
    pub found: Vec<Discrepancy>,
    /// How many they are.
    pub rows: u64,
    /// The last of them; `None`: there were none, and nothing is left to check.
    pub next: Option<T>,
}

impl<T> Default for Checked<T> {
    fn default() -> Self {
        Self { found: Vec::new(), rows: 0, next: None }
    }
}

/// A chunk as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its name.
    pub id: ChunkId,
    /// Whether nothing refers to it: its files go, or are gone.
    pub dead: bool,
    /// Whether more is appended to it.
    pub open: bool,
    /// Whether small objects share it.
    pub packed: bool,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards known not to be there.
    pub missing: ShardSet,
    /// Object bytes in it.
    pub len: u64,
    /// Where its last committed block ends in every shard file.
    pub end: u64,
}

/// Whether ids of a range may still come to be chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeState {
    /// They may.
    Open,
    /// They may not, and what they left is swept away.
    Closed,
}

/// What an operator says of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSpec {
    /// Its name, unique in the deployment.
    pub id: String,
    /// Directory.
    pub path: String,
    /// The node that carries it.
    pub node: String,
    /// The node's zone.
    pub zone: String,
    /// The zone's region.
    pub region: String,
    /// Share of the data relative to other volumes; above 0.
    pub weight: f64,
    /// Bytes it may hold; `None`: what the file system has.
    pub capacity: Option<u64>,
}

/// A registered volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRow {
    /// Its number.
    pub slot: VolumeSlot,
    /// What the operator says.
    pub spec: VolumeSpec,
    /// Whether its operator wants it emptied.
    pub draining: bool,
    /// Whether its directory was made once.
    pub formatted: bool,
    /// How often its disk was replaced by an empty one.
    pub epoch: u32,
    /// Whether a command added or moved it: the volumes named at a server's start have no say in it.
    pub by_command: bool,
}

/// How an instance finds a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeReport {
    /// The volume.
    pub slot: VolumeSlot,
    /// `healthy`, `degraded`, `failed` or `draining`.
    pub status: String,
    /// Whether it has no room for more shards.
    pub full: bool,
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may hold.
    pub capacity: u64,
    /// What went wrong last, if anything did.
    pub error: Option<String>,
}

/// A living instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its number.
    pub id: InstanceId,
    /// When it started.
    pub started: Millis,
    /// When it was last heard of.
    pub heartbeat: Millis,
    /// How long ago that is, in milliseconds.
    pub silent: i64,
}

/// A chunk whose files are due for removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadChunk {
    /// The chunk.
    pub id: ChunkId,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards that never were there.
    pub missing: ShardSet,
}

/// A shard that waits for healing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealTask {
    /// Its chunk.
    pub chunk: ChunkId,
    /// Its index.
    pub shard: u8,
    /// What was found.
    pub reason: String,
    /// When it was noted first.
    pub queued: Millis,
    /// How often it was noted.
    pub noted: i64,
    /// How often it could not be healed.
    pub attempts: u32,
}

/// What a round of folding `released` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folded {
    /// Rows of `released` taken.
    pub rows: u64,
    /// Data that nobody refers to any more, now gone.
    pub data: u64,
    /// Chunks found without a live byte.
    pub chunks: u64,
}
