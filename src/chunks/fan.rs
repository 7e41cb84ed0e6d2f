//! One step on many volumes at once: a volume that hangs must not hold up the others.
//!
//! A step is over when all operations are, or when six succeeded and the rest has had its time: a multiple of what the sixth took, but
//! at least a floor, and that again for each shard that would then be missing, so that one is given up sooner than a second and
//! a third. What is given up counts as failed, and its volume too, until a probe finds it well; its late end changes nothing any more.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::ChunkConfig;
use crate::layout::{DATA_SHARDS, ShardName, VolumeSlot};
use crate::volumes::{Member, VolumeError, VolumeSet};

/// A shard, and what the operation on it came to.
pub(super) type Outcome = (usize, Result<(), VolumeError>);

/// An operation on a shard of a chunk.
pub(super) struct Step {
    pub(super) shard: usize,
    pub(super) slot: VolumeSlot,
    pub(super) file: ShardName,
    /// Whether the step creates the file: if it is given up and creates it all the same, the file is removed.
    pub(super) creates: bool,
}

/// Does `work` for each of `steps`, all at once, and answers what each came to.
pub(super) async fn fan<W, F>(
    volumes: &VolumeSet,
    config: &ChunkConfig,
    steps: impl IntoIterator<Item = Step>,
    work: W,
) -> Vec<Outcome>
where
    W: Fn(Arc<Member>, &Step) -> F,
    F: Future<Output = Result<(), VolumeError>> + Send + 'static,
{
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut waiting = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    for step in steps {
        let Some(member) = volumes.get(step.slot) else {
            outcomes.push((step.shard, Err(gone(step.slot))));
            continue;
        };
        // Whoever sets it first decides: the operation, that it is done, or this function, that it is given up.
        let settled = Arc::new(AtomicBool::new(false));
        let operation = work(Arc::clone(&member), &step);
        let task = tokio::spawn(finish(Arc::clone(&member), step.file, step.creates, Arc::clone(&settled), operation));
        let shard = step.shard;
        waiting.insert(shard, (member, settled));
        running.push(async move { (shard, task.await) });
    }
    let mut sixth = None;
    while !waiting.is_empty() {
        let good = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        if good >= DATA_SHARDS && sixth.is_none() {
            sixth = Some(started.elapsed());
        }
        let missing = (outcomes.len() - good + waiting.len()) as u32;
        let patience = sixth.map(|usual| (usual * config.hedge_multiple).max(config.write_hedge_floor) * missing);
        let too_late = async {
            match patience {
                Some(patience) => tokio::time::sleep_until((started + patience).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = running.next() => match done {
                Some((shard, outcome)) => {
                    let Some((member, _)) = waiting.remove(&shard) else { continue };
                    let lost = |_| VolumeError::Unavailable {
                        volume: Arc::clone(member.name()),
                        reason: "an operation ended early".into(),
                    };
                    outcomes.push((shard, outcome.map_err(lost).and_then(|outcome| outcome)));
                }
                None => break,
            },
            () = too_late => {
                // One that is done by now is waited for: its answer is there.
                let late = waiting.extract_if(.., |_, (_, settled)| !settled.swap(true, Ordering::AcqRel));
                for (shard, (member, _)) in late {
                    let reason = format!("no answer in {:?}, when others had long done the same", started.elapsed());
                    let error = VolumeError::Unavailable { volume: Arc::clone(member.name()), reason };
                    member.is_late(&error);
                    outcomes.push((shard, Err(error)));
                }
            }
        }
    }
    outcomes
}

async fn finish(
    member: Arc<Member>,
    file: ShardName,
    creates: bool,
    settled: Arc<AtomicBool>,
    operation: impl Future<Output = Result<(), VolumeError>>,
) -> Result<(), VolumeError> {
    let outcome = operation.await;
    let given_up = settled.swap(true, Ordering::AcqRel);
    if given_up && creates && outcome.is_ok() {
        tracing::warn!(volume = %member.name(), %file, "a file was created when it had been given up; it is removed");
        member.remove(file).await?;
    }
    outcome
}

/// The answer of a volume that is not among the members any more.
fn gone(slot: VolumeSlot) -> VolumeError {
    VolumeError::Unavailable { volume: slot.to_string().into(), reason: "it was removed".into() }
}
