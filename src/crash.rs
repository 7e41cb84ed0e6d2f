//! Named instants of the commit protocol at which a debug build can be made to die, as a power failure would have it.
//!
//! `NINEFOLD_CRASH_AT=name` in the environment kills the process with SIGKILL when it first passes the point of that name,
//! `NINEFOLD_CRASH_AT=name:nth` when it does so for the nth time. `NINEFOLD_STOP_AT` does the same with SIGSTOP: the process goes on
//! when it is told to, and meanwhile a test looks at what others make of it. Release builds hold no trace of it. Whoever adds a
//! step that a crash may fall behind adds a point to [`POINTS`], and `tests/crash.rs` dies there (`tests/restore.rs` at those of a
//! restore, `tests/identities.rs` at those of a new master key).

/// The points there are.
pub const POINTS: &[&str] = &[
    // A start knows whose the database is, and has not registered its volumes.
    "start.named",
    // Ids are reserved in SQL, nothing was written yet.
    "ids.reserved",
    // A chunk's files are there, their names not yet on stable storage.
    "chunk.created",
    // A stripe is written.
    "chunk.stripe",
    // All is written, nothing synced.
    "chunk.written",
    // All of a chunk is synced, nobody knows of it.
    "chunk.synced",
    // A batch of small writes is synced in its packed chunk, and not committed.
    "pack.appended",
    // A packed chunk has its trailers, and SQL has it still open.
    "pack.ended",
    // A transaction that clients see is complete but for its COMMIT.
    "commit.before",
    // Its COMMIT was answered, nobody has been told.
    "commit.after",
    // An object's (or part's) bytes are synced and match what was announced.
    "put.received",
    // An append's bytes are; those before them are written once more, because others refer to them.
    "append.received",
    "append.copied",
    // Put, append, rename, part, completion, abort, copy, deletion: committed, and the client has no answer.
    "put.committed",
    "append.committed",
    "rename.committed",
    "part.committed",
    "complete.committed",
    "abort.committed",
    "copy.committed",
    "delete.committed",
    // Reclaiming: references are folded; a dead chunk's files are about to go; have gone, its row is there; is forgotten.
    "reclaim.folded",
    "reclaim.chosen",
    "reclaim.removed",
    "reclaim.forgotten",
    // Healing and moving: a shard's new file is announced; is written and verified; is the shard.
    "shard.announced",
    "shard.written",
    "shard.switched",
    // Compaction: a batch of a chunk's entries is elsewhere.
    "compact.moved",
    // Sweeping: files without a row are known; are in quarantine; SQL knows.
    "sweep.found",
    "sweep.moved",
    "sweep.noted",
    // A snapshot: its chunks are synced, nobody knows of them; its row is there; its manifests are on the volumes; it counts.
    "snapshot.synced",
    "snapshot.committed",
    "snapshot.manifested",
    "snapshot.completed",
    // An old one's data are released; its manifests are gone.
    "snapshot.released",
    "snapshot.removed",
    // SQLite's log: what was committed is taken for the next file; the file is on the volumes.
    "log.taken",
    "log.written",
    // A new master key: the file has it beside the old one; secrets are sealed under it; the file has it alone.
    "seal.announced",
    "seal.committed",
    "seal.replaced",
    // A restore: the database is found empty; a page of rows is written; the log is done again; all is written but for the
    // COMMIT; its COMMIT was answered, and nobody has been told.
    "restore.begun",
    "restore.page",
    "restore.replayed",
    "restore.filled",
    "restore.committed",
];

/// Passes the point of this name, or dies there, or stops.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Where something is to happen, and how many passages are left.
    struct Target(Option<(String, AtomicU64)>);

    impl Target {
        fn from_environment(variable: &str) -> Self {
            Self(std::env::var(variable).ok().map(|target| {
                let (name, nth) = target.split_once(':').unwrap_or((&target, "1"));
                (name.to_owned(), AtomicU64::new(nth.parse().unwrap_or(1)))
            }))
        }

        fn is_here(&self, name: &str) -> bool {
            let here = self.0.as_ref().filter(|(target, _)| target == name);
            here.is_some_and(|(_, left)| left.fetch_sub(1, Ordering::SeqCst) == 1)
        }
    }

    static CRASH: LazyLock<Target> = LazyLock::new(|| Target::from_environment("NINEFOLD_CRASH_AT"));
    static STOP: LazyLock<Target> = LazyLock::new(|| Target::from_environment("NINEFOLD_STOP_AT"));

    debug_assert!(POINTS.contains(&name), "{name} is not in the list of points");
    if CRASH.is_here(name) {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal is on its way; nothing is done until it is here.
        loop {
            std::thread::park();
        }
    }
    if STOP.is_here(name) {
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &'static str) {}
