//! Named instants of the commit protocol at which a debug build can be made to die, as a power failure would have it.
//!
//! `NINEFOLD_CRASH_AT=name` in the environment kills the process with SIGKILL when it first passes the point of that name,
//! `NINEFOLD_CRASH_AT=name:nth` when it does so for the nth time. Release builds hold no trace of it. Whoever adds a step that a
//! crash may fall behind adds a point to [`POINTS`], and `tests/crash.rs` dies there.

/// The points there are.
pub const POINTS: &[&str] = &[
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
    // Put, part, completion, abort, copy, deletion: committed, and the client has no answer.
    "put.committed",
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
];

/// Passes the point of this name, or dies there.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to die, and how many passages are left.
    static TARGET: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let target = std::env::var("NINEFOLD_CRASH_AT").ok()?;
        let (name, nth) = target.split_once(':').unwrap_or((&target, "1"));
        Some((name.to_owned(), AtomicU64::new(nth.parse().unwrap_or(1))))
    });

    debug_assert!(POINTS.contains(&name), "{name} is not in the list of points");
    if let Some((target, left)) = &*TARGET
        && target == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing is done until it is here.
        loop {
            std::thread::park();
        }
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &'static str) {}
