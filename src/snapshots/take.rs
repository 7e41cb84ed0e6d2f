//! Making snapshots, and giving up old ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;

use super::format::{self, Head};
use super::log::{self, ChangeLogging};
use super::manifest::Manifest;
use crate::chunks::{Body, BodyError, Digest, Owner};
use crate::clock::random_bytes;
use crate::crash;
use crate::layout::DATA_SHARDS;
use crate::maintenance::{Job, JobError, renew};
use crate::metadata::{self, Dump, JobState, Lease, Metadata, Progress, SCHEMA, SnapshotRow, SnapshotState, Table};
use crate::objects::Store;

/// The job's name: of its lease, and of its row.
pub const SNAPSHOT: &str = "snapshot";

/// How often the lease is renewed while a snapshot is made.
const RENEW: Duration = Duration::from_secs(10);
/// How long after a snapshot that failed the next is tried, at most.
const RETRY: Duration = Duration::from_secs(60);
/// Intervals without a snapshot before that is an alarm.
const LATE_AFTER: i64 = 3;

/// When snapshots are made, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// How long after the beginning of one the next begins; zero: only when one is asked for.
    pub interval: Duration,
    /// How many are kept; at least 1.
    pub keep: usize,
    /// When what is committed since is on the volumes, where the database keeps no logs of its own.
    pub change_log: ChangeLogging,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(3600), keep: 3, change_log: ChangeLogging::default() }
    }
}

/// Makes snapshots of the metadata and gives up old ones.
#[derive(Debug)]
pub struct Snapshot {
    store: Store,
    config: SnapshotConfig,
}

/// A body's bytes are not looked at.
struct Unseen;

impl Digest for Unseen {
    fn update(&mut self, _: &[u8]) {}
}

/// What is written so far.
#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What is next in the bytes of a snapshot.
enum Step {
    Head,
    Rows(Option<&'static Table>),
    Done,
}

impl Snapshot {
    /// The job over `store`.
    pub fn new(store: Store, config: SnapshotConfig) -> Self {
        Self { store, config }
    }

    /// Asks for a snapshot if the last one is too long ago; says so if it is far too long.
    async fn schedule(&self, rows: &[SnapshotRow]) -> Result<(), JobError> {
        if self.config.interval.is_zero() {
            return Ok(());
        }
        let db = self.store.metadata();
        let (now, job) = (db.now().await?, db.job(SNAPSHOT).await?);
        let interval = self.config.interval.as_millis() as i64;
        let newest = rows.iter().find(|row| row.state == SnapshotState::Complete);
        let age = newest.map(|row| now.saturating_sub(row.began));
        if age.is_some_and(|age| age > interval.saturating_mul(LATE_AFTER)) {
            let held = db.held_by_snapshots().await?;
            tracing::warn!(
                age_ms = age,
                dead_chunks = held,
                "no snapshot of the metadata has been made for long: the space of what was deleted since is not given back"
            );
        }
        let open = job.as_ref().is_some_and(|job| job.state.is_open());
        let retry = interval.min(RETRY.as_millis() as i64);
        let failed = job.is_some_and(|job| job.state == JobState::Failed && now.saturating_sub(job.updated) < retry);
        if !open && !failed && age.is_none_or(|age| age >= interval) {
            db.request_job(SNAPSHOT).await?;
        }
        Ok(())
    }

    /// Gives up what is not needed any more, or was cut short.
    async fn tidy(&self, lease: &Lease, rows: Vec<SnapshotRow>) -> Result<(), JobError> {
        let db = self.store.metadata();
        let mut kept = 0;
        for row in rows {
            match row.state {
                SnapshotState::Complete if kept < self.config.keep.max(1) => {
                    kept += 1;
                    continue;
                }
                SnapshotState::Complete | SnapshotState::Written => {
                    db.release_snapshot(lease, &row.id).await?;
                    crash::point("snapshot.released");
                }
                SnapshotState::Released => {}
            }
            // On every volume, or its row stays until it is.
            let name = Manifest::file_name(&row.id);
            let members = self.store.chunks().volumes().members();
            let removals = members.values().map(|member| member.remove_document(&name));
            let gone = join_all(removals).await.iter().all(Result::is_ok);
            crash::point("snapshot.removed");
            if gone {
                db.forget_snapshot(lease, &row.id).await?;
            }
        }
        Ok(())
    }

    /// Removes manifests that no row knows and that are older than all that is kept: an older snapshot than theirs was restored
    /// once, or their volume was away for long. What the log has from before all that is kept goes, too.
    async fn remove_strays(&self) -> Result<(), JobError> {
        let rows = self.store.metadata().snapshots().await?;
        let Some(oldest) = rows.iter().map(|row| Manifest::file_name(&row.id)).min() else { return Ok(()) };
        for member in self.store.chunks().volumes().members().values() {
            // A volume that is away now is looked at the next time.
            let Ok(names) = member.documents().await else { continue };
            for name in names.iter().filter(|name| Manifest::is_file_name(name) && **name < oldest) {
                if let Err(error) = member.remove_document(name).await {
                    tracing::debug!(%error, "an old manifest could not be removed");
                }
            }
        }
        let complete = rows.iter().filter(|row| row.state == SnapshotState::Complete);
        if let Some(oldest) = complete.map(|row| row.began).min() {
            log::prune(self.store.chunks().volumes(), oldest).await;
        }
        Ok(())
    }

    async fn take(&self, lease: &Lease) -> Result<String, SnapshotError> {
        let (db, chunks) = (self.store.metadata(), self.store.chunks());
        let dump = db.begin_dump().await?;
        let (began, deployment) = (dump.began(), dump.deployment().to_owned());
        let id = format!("{began:015}-{:08x}", u32::from_be_bytes(random_bytes()));
        let counts = Arc::new(Counts::default());
        let head = Head { schema: SCHEMA, deployment: deployment.clone(), snapshot: id.clone(), began };
        let body = body(dump, head, db.clone(), lease.clone(), Arc::clone(&counts));
        let owner = Owner { bucket: String::new(), key: format!("snapshot/{id}"), part: 0 };
        let (data, _) = chunks.write(owner, body, Unseen).await?;
        crash::point("snapshot.synced");
        let rows = counts.rows.load(Ordering::Relaxed);
        let row = SnapshotRow {
            id: id.clone(),
            state: SnapshotState::Written,
            began,
            completed: None,
            rows,
            bytes: data.len,
        };
        let committed = async {
            renew(db, lease).await?;
            Ok::<_, JobError>(db.commit_snapshot(lease, &row, &data).await?)
        };
        if let Err(error) = committed.await {
            if !matches!(error, JobError::Metadata(metadata::Error::Ambiguous(_))) {
                chunks.discard(&data.chunks).await;
            }
            return Err(error.into());
        }
        crash::point("snapshot.committed");

        let manifest = Manifest::new(&deployment, &row, db.now().await?, &data).encode();
        let name = Manifest::file_name(&id);
        let members = chunks.volumes().members();
        let writes = members.values().map(async |member| {
            let outcome = member.put_document(&name, manifest.clone()).await;
            outcome.inspect_err(|error| tracing::warn!(%error, "a volume did not take a snapshot's manifest")).is_ok()
        });
        let on = join_all(writes).await.into_iter().filter(|&written| written).count();
        // So many that any six volumes of nine have one among them.
        if on < DATA_SHARDS {
            return Err(SnapshotError::Manifests { on, of: members.len() });
        }
        crash::point("snapshot.manifested");
        db.complete_snapshot(lease, &id).await?;
        crash::point("snapshot.completed");
        tracing::info!(snapshot = id, rows, bytes = data.len, volumes = on, "a snapshot of the metadata is complete");
        Ok(format!("{id}, on {on} volumes"))
    }
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("its manifest is only on {on} of {of} volumes")]
    Manifests { on: usize, of: usize },
}

impl From<metadata::Error> for SnapshotError {
    fn from(error: metadata::Error) -> Self {
        Self::Job(error.into())
    }
}

impl From<crate::chunks::ChunkError> for SnapshotError {
    fn from(error: crate::chunks::ChunkError) -> Self {
        Self::Job(error.into())
    }
}

/// The bytes of a snapshot, made as they are asked for.
fn body(dump: Dump, head: Head, db: Metadata, lease: Lease, counts: Arc<Counts>) -> Body {
    let state = (dump, Step::Head, Instant::now(), Progress::default());
    Box::pin(stream::try_unfold(state, move |(mut dump, step, mut renewed, mut progress)| {
        let (head, db, lease, counts) = (head.clone(), db.clone(), lease.clone(), Arc::clone(&counts));
        async move {
            let failed = |error: JobError| BodyError(Box::new(error));
            let before = match step {
                Step::Head => {
                    return Ok(Some((format::begin(&head), (dump, Step::Rows(None), renewed, progress))));
                }
                Step::Done => return Ok(None),
                Step::Rows(table) => table,
            };
            let Some(page) = dump.page().await.map_err(|error| failed(error.into()))? else {
                let end = format::end(counts.rows.load(Ordering::Relaxed));
                return Ok(Some((end, (dump, Step::Done, renewed, progress))));
            };
            let rows = page.rows.len() as u64;
            let encode = move || {
                let table = if before == Some(page.table) { Bytes::new() } else { format::table(page.table) };
                (Bytes::from([table, format::rows(&page.rows)].concat()), page.table)
            };
            let encoded = tokio::task::spawn_blocking(encode).await;
            let (bytes, table) = encoded.map_err(|error| BodyError(Box::new(error)))?;
            counts.rows.fetch_add(rows, Ordering::Relaxed);
            counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            progress.done += rows;
            progress.bytes += bytes.len() as u64;
            if renewed.elapsed() >= RENEW {
                let renewal = async {
                    renew(&db, &lease).await?;
                    Ok::<_, JobError>(db.advance_job(&lease, SNAPSHOT, &std::mem::take(&mut progress)).await?)
                };
                renewal.await.map_err(failed)?;
                renewed = Instant::now();
            }
            Ok(Some((bytes, (dump, Step::Rows(Some(table)), renewed, progress))))
        }
    }))
}

#[async_trait]
impl Job for Snapshot {
    fn name(&self) -> &'static str {
        SNAPSHOT
    }

    async fn round(&self, lease: &Lease) -> Result<bool, JobError> {
        let db = self.store.metadata();
        let rows = db.snapshots().await?;
        self.schedule(&rows).await?;
        self.tidy(lease, rows).await?;
        match db.job(SNAPSHOT).await? {
            Some(job) if job.state == JobState::Waiting => db.start_job(lease, SNAPSHOT, 0).await?,
            // Cut short: from the start again.
            Some(job) if job.state == JobState::Running => {}
            _ => return Ok(false),
        }
        match self.take(lease).await {
            Ok(said) => {
                db.finish_job(lease, SNAPSHOT, JobState::Done, &said).await?;
                self.remove_strays().await?;
                // The oldest may have to go now.
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%error, "there is no new snapshot of the metadata");
                db.finish_job(lease, SNAPSHOT, JobState::Failed, &error.to_string()).await?;
                Ok(false)
            }
        }
    }
}
