#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;
use crate::layout::ChunkId;

fn shard(seq: u64) -> ShardName {
    ShardName { chunk: ChunkId { seq, nonce: 7 }, shard: 2, generation: 1 }
}

fn identity() -> Identity {
    Identity { deployment: "d-1".into(), volume: "v1".into(), slot: VolumeSlot(1), epoch: 0 }
}

fn file(path: &Path, shard: ShardName) -> PathBuf {
    path.join("shards").join(format!("{:02x}", shard.chunk.fan_out())).join(shard.to_string())
}

async fn volume(config: IoConfig) -> (TempDir, PathBuf, LocalVolume) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("v1");
    LocalVolume::format(&path, &identity()).unwrap();
    let volume = LocalVolume::open(&path, identity(), config).unwrap();
    volume.probe().await.unwrap();
    (temporary, path, volume)
}

async fn store(volume: &LocalVolume, shard: ShardName, bytes: &'static [u8]) {
    volume.create(shard, Bytes::from_static(bytes)).await.unwrap();
    volume.sync(shard).await.unwrap();
}

fn tree(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn files_are_created_once_written_at_positions_and_closed_by_sync() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    let shard = shard(0x1ab);
    volume.create(shard, Bytes::from_static(b"head")).await.unwrap();
    let again = volume.create(shard, Bytes::from_static(b"other")).await;
    assert!(matches!(again, Err(VolumeError::Exists { .. })), "{again:?}");
    let pieces = vec![Bytes::from_static(b"later "), Bytes::new(), Bytes::from_static(b"bytes")];
    volume.write(shard, 8, pieces).await.unwrap();
    volume.write(shard, 4, vec![Bytes::from_static(b"mid ")]).await.unwrap();
    volume.write(shard, 0, vec![]).await.unwrap();
    volume.sync(shard).await.unwrap();
    assert_eq!(fs::read(file(&path, shard)).unwrap(), b"headmid later bytes");
    assert_eq!(volume.read(shard, 4, 9).await.unwrap(), "mid later");
    assert_eq!(volume.read(shard, 3, 0).await.unwrap(), "");

    for outcome in [volume.write(shard, 0, vec![Bytes::from_static(b"x")]).await, volume.sync(shard).await] {
        assert!(matches!(outcome, Err(VolumeError::Io { .. })), "{outcome:?}");
    }
    assert_eq!(fs::read(file(&path, shard)).unwrap(), b"headmid later bytes");
}

#[tokio::test]
async fn more_pieces_than_one_call_of_the_system_takes_are_written() {
    let (_temporary, _path, volume) = volume(IoConfig::default()).await;
    let shard = shard(1);
    let pieces: Vec<Bytes> = (0..3000u32).map(|i| Bytes::from(i.to_le_bytes().to_vec())).collect();
    volume.create(shard, Bytes::new()).await.unwrap();
    volume.write(shard, 0, pieces.clone()).await.unwrap();
    volume.sync(shard).await.unwrap();
    assert_eq!(volume.read(shard, 0, 12_000).await.unwrap(), pieces.concat());
}

#[tokio::test]
async fn short_and_absent_files_are_told_apart() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    let (there, absent) = (shard(1), shard(2));
    store(&volume, there, b"0123456789").await;
    assert_eq!(volume.read(there, 0, 10).await.unwrap(), "0123456789");
    for (position, len) in [(0, 11), (10, 1), (11, 1), (u64::MAX, 1), (u64::MAX - 1, 9), (i64::MAX as u64, 5)] {
        let outcome = volume.read(there, position, len).await;
        assert!(matches!(outcome, Err(VolumeError::Truncated { .. })), "{position}: {outcome:?}");
    }
    // Also through a descriptor that is open already.
    fs::File::options().write(true).open(file(&path, there)).unwrap().set_len(5).unwrap();
    assert!(matches!(volume.read(there, 0, 10).await, Err(VolumeError::Truncated { end: 10, .. })));
    assert!(matches!(volume.read(absent, 0, 1).await, Err(VolumeError::Absent { shard, .. }) if shard == absent));
    assert!(matches!(volume.quarantine(absent).await, Err(VolumeError::Absent { .. })));
    volume.remove(absent).await.unwrap();
}

#[tokio::test]
async fn removed_files_are_gone_for_readers_and_writers() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    let shard = shard(3);
    store(&volume, shard, b"bytes").await;
    volume.read(shard, 0, 5).await.unwrap();
    volume.remove(shard).await.unwrap();
    assert!(!file(&path, shard).exists());
    assert!(matches!(volume.read(shard, 0, 5).await, Err(VolumeError::Absent { .. })));
    volume.create(shard, Bytes::from_static(b"again")).await.unwrap();
    volume.remove(shard).await.unwrap();
    assert!(matches!(volume.write(shard, 0, vec![Bytes::from_static(b"x")]).await, Err(VolumeError::Io { .. })));
}

#[tokio::test]
async fn open_files_are_bounded_and_expire() {
    let config = IoConfig { open_files: 8, ..IoConfig::default() };
    let (_temporary, path, bounded) = volume(config).await;
    for seq in 0..40 {
        store(&bounded, shard(seq), b"bytes").await;
        bounded.read(shard(seq), 0, 5).await.unwrap();
        bounded.read(shard(0), 0, 5).await.unwrap();
    }
    // The one in constant use stayed open: what takes its name is not seen. One used long ago is opened anew.
    for seq in [0, 1] {
        fs::remove_file(file(&path, shard(seq))).unwrap();
        fs::write(file(&path, shard(seq)), "other").unwrap();
    }
    assert_eq!(bounded.read(shard(0), 0, 5).await.unwrap(), "bytes");
    assert_eq!(bounded.read(shard(1), 0, 5).await.unwrap(), "other");

    let (_temporary, path, expiring) = volume(IoConfig { open_for: Duration::ZERO, ..IoConfig::default() }).await;
    store(&expiring, shard(0), b"bytes").await;
    expiring.read(shard(0), 0, 5).await.unwrap();
    fs::remove_file(file(&path, shard(0))).unwrap();
    assert!(matches!(expiring.read(shard(0), 0, 5).await, Err(VolumeError::Absent { .. })));
}

#[tokio::test]
async fn list_names_the_shards_of_a_directory_and_nothing_else() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    let (a, b, elsewhere) = (shard(0x0107), shard(0x0207), shard(0x08));
    for shard in [a, b, elsewhere] {
        store(&volume, shard, b"x").await;
    }
    fs::write(path.join("shards/07/notes.txt"), "").unwrap();
    fs::write(path.join("shards/07").join(shard(9).to_string()), "in the wrong directory").unwrap();
    fs::create_dir(path.join("shards/07").join(shard(0x0307).to_string())).unwrap();
    let mut listed = volume.list(7).await.unwrap();
    listed.sort();
    assert_eq!(listed, [a, b]);
    assert_eq!(volume.list(9).await.unwrap(), []);
}

#[tokio::test]
async fn quarantine_keeps_every_file_that_went_there() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    let shard = shard(4);
    for bytes in [b"first", b"other"] {
        store(&volume, shard, bytes).await;
        volume.read(shard, 0, 5).await.unwrap();
        volume.quarantine(shard).await.unwrap();
        assert!(matches!(volume.read(shard, 0, 5).await, Err(VolumeError::Absent { .. })));
    }
    assert_eq!(fs::read(path.join("quarantine").join(shard.to_string())).unwrap(), b"first");
    assert_eq!(fs::read(path.join("quarantine").join(format!("{shard}.1"))).unwrap(), b"other");
}

#[tokio::test]
async fn quarantine_is_listed_and_purged_of_what_is_old() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    for seq in [4, 4, 5] {
        store(&volume, shard(seq), b"bytes").await;
        volume.quarantine(shard(seq)).await.unwrap();
    }
    // Not one of ours: neither listed nor removed.
    fs::write(path.join("quarantine/notes.txt"), "keep").unwrap();
    let listed = volume.quarantined(10).await.unwrap();
    let mut names: Vec<_> = listed.iter().map(|file| file.file.clone()).collect();
    names.sort();
    assert_eq!(names, [shard(4).to_string(), format!("{}.1", shard(4)), shard(5).to_string()]);
    assert!(listed.iter().all(|file| file.len == 5));
    assert_eq!(volume.quarantined(2).await.unwrap().len(), 2);
    let newest = listed.iter().map(|file| file.since).max().unwrap();
    let oldest = listed.iter().map(|file| file.since).min().unwrap();
    assert_eq!(volume.purge(oldest, 10).await.unwrap(), 0);
    assert_eq!(volume.purge(newest + 1, 2).await.unwrap(), 2);
    assert_eq!(volume.purge(newest + 1, 2).await.unwrap(), 1);
    assert!(volume.quarantined(10).await.unwrap().is_empty());
    assert!(path.join("quarantine/notes.txt").exists());
}

#[tokio::test]
async fn files_asked_for_by_name_are_told_with_their_lengths() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    store(&volume, shard(1), b"one").await;
    store(&volume, shard(2), b"").await;
    let asked = vec![shard(3), shard(2), ShardName { generation: 0, ..shard(1) }, shard(1)];
    assert_eq!(volume.present(asked.clone()).await.unwrap(), [(shard(2), 0), (shard(1), 3)]);
    fs::rename(&path, path.with_extension("away")).unwrap();
    volume.probe().await.unwrap_err();
    assert!(matches!(volume.present(asked).await, Err(VolumeError::Unavailable { .. })));
    assert!(matches!(volume.quarantined(1).await, Err(VolumeError::Unavailable { .. })));
    assert!(matches!(volume.purge(0, 1).await, Err(VolumeError::Unavailable { .. })));
}

#[tokio::test]
async fn a_volume_is_unavailable_until_it_is_probed_and_a_foreign_one_stays_so() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("v1");
    LocalVolume::format(&path, &Identity { volume: "v2".into(), ..identity() }).unwrap();
    let before = tree(&path);
    let volume = LocalVolume::open(&path, identity(), IoConfig::default()).unwrap();
    for probed in [false, true] {
        if probed {
            let error = volume.probe().await.unwrap_err();
            assert!(error.to_string().contains("it is volume \"v2\""), "{error}");
        }
        let created = volume.create(shard(1), Bytes::from_static(b"x")).await;
        assert!(matches!(created, Err(VolumeError::Unavailable { .. })), "{created:?}");
        assert!(matches!(volume.usage().await, Err(VolumeError::Unavailable { .. })));
    }
    assert_eq!(tree(&path), before);
    assert_eq!(LocalVolume::identify(&path).unwrap().unwrap().volume, "v2");
    assert_eq!(LocalVolume::identify(&path.join("absent")).unwrap(), None);
}

#[tokio::test]
async fn a_directory_that_is_moved_away_is_unavailable_until_it_is_back() {
    let (temporary, path, volume) = volume(IoConfig::default()).await;
    store(&volume, shard(1), b"bytes").await;
    volume.create(shard(2), Bytes::from_static(b"begun")).await.unwrap();
    let away = temporary.path().join("away");
    fs::rename(&path, &away).unwrap();

    // Before a probe has noticed, I/O goes on in the directory it began in.
    volume.create(shard(3), Bytes::from_static(b"x")).await.unwrap();
    assert!(file(&away, shard(3)).exists());
    assert!(!path.exists());

    assert!(matches!(volume.probe().await, Err(VolumeError::Unavailable { .. })));
    let outcomes = [
        volume.create(shard(4), Bytes::from_static(b"x")).await,
        volume.write(shard(2), 5, vec![Bytes::from_static(b"x")]).await,
        volume.sync(shard(2)).await,
        volume.remove(shard(1)).await,
        volume.quarantine(shard(1)).await,
        volume.read(shard(1), 0, 5).await.map(drop),
        volume.list(1).await.map(drop),
        volume.usage().await.map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(VolumeError::Unavailable { .. })), "{outcome:?}");
    }
    assert!(!path.exists());

    fs::rename(&away, &path).unwrap();
    volume.probe().await.unwrap();
    assert_eq!(volume.read(shard(1), 0, 5).await.unwrap(), "bytes");
    // What was open for writing is not any more: what was written before may not have got there.
    assert!(matches!(volume.sync(shard(2)).await, Err(VolumeError::Io { .. })));
}

#[tokio::test]
async fn an_empty_or_foreign_directory_in_its_place_is_never_written() {
    let (temporary, path, volume) = volume(IoConfig::default()).await;
    store(&volume, shard(1), b"bytes").await;
    let away = temporary.path().join("away");
    fs::rename(&path, &away).unwrap();

    fs::create_dir(&path).unwrap();
    volume.create(shard(2), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(tree(&path), Vec::<PathBuf>::new());
    for _ in 0..2 {
        assert!(matches!(volume.probe().await, Err(VolumeError::Unavailable { .. })));
        assert!(matches!(volume.create(shard(3), Bytes::new()).await, Err(VolumeError::Unavailable { .. })));
        assert_eq!(tree(&path), Vec::<PathBuf>::new());
    }

    LocalVolume::format(&path, &Identity { deployment: "d-2".into(), ..identity() }).unwrap();
    let before = tree(&path);
    assert!(matches!(volume.probe().await, Err(VolumeError::Unavailable { .. })));
    assert!(matches!(volume.create(shard(3), Bytes::new()).await, Err(VolumeError::Unavailable { .. })));
    assert_eq!(tree(&path), before);
}

#[tokio::test]
async fn a_copy_of_the_volume_in_its_place_is_taken_up_by_a_probe() {
    let (temporary, path, volume) = volume(IoConfig::default()).await;
    volume.create(shard(1), Bytes::from_static(b"x")).await.unwrap();
    fs::rename(&path, temporary.path().join("away")).unwrap();
    LocalVolume::format(&path, &identity()).unwrap();
    volume.probe().await.unwrap();
    store(&volume, shard(2), b"new").await;
    assert!(file(&path, shard(2)).exists());
    assert!(matches!(volume.sync(shard(1)).await, Err(VolumeError::Io { .. })));
}

/// Puts a pipe where a shard's file would be: opening it for reading hangs until somebody opens it for writing.
fn hang(path: &Path, shard: ShardName) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, file(path, shard), mode).unwrap();
}

fn release(path: &Path, shard: ShardName) {
    drop(fs::File::options().write(true).open(file(path, shard)).unwrap());
}

#[tokio::test]
async fn a_hung_operation_fills_its_own_queue_and_holds_up_no_other_volume() {
    let config = IoConfig { threads: 1, queue: 2, queue_wait: Duration::ZERO, ..IoConfig::default() };
    let (_temporary, path, hung) = volume(config.clone()).await;
    let (_other_temporary, _, other) = volume(config).await;
    store(&hung, shard(1), b"bytes").await;
    hang(&path, shard(2));

    let hung = Arc::new(hung);
    let read = |seq| {
        let volume = Arc::clone(&hung);
        tokio::spawn(async move { volume.read(shard(seq), 0, 5).await })
    };
    let (first, second) = (read(2), read(1));
    while hung.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let third = hung.read(shard(1), 0, 5).await;
    assert!(matches!(&third, Err(VolumeError::Unavailable { reason, .. }) if reason.contains("queue")), "{third:?}");

    store(&other, shard(1), b"other").await;
    assert_eq!(other.read(shard(1), 0, 5).await.unwrap(), "other");

    tokio::task::spawn_blocking(move || release(&path, shard(2))).await.unwrap();
    assert!(matches!(first.await.unwrap(), Err(VolumeError::Io { .. })));
    assert_eq!(second.await.unwrap().unwrap(), "bytes");
    assert_eq!(hung.read(shard(1), 0, 5).await.unwrap(), "bytes");
}

#[tokio::test]
async fn an_operation_without_an_answer_in_time_is_unavailable() {
    let config = IoConfig { threads: 1, time_limit: Duration::from_millis(20), ..IoConfig::default() };
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("v1");
    LocalVolume::format(&path, &identity()).unwrap();
    let volume = LocalVolume::open(&path, identity(), config).unwrap();
    // A busy machine may need more than one attempt.
    while volume.probe().await.is_err() {}
    hang(&path, shard(1));
    let outcome = volume.read(shard(1), 0, 1).await;
    assert!(matches!(&outcome, Err(VolumeError::Unavailable { reason, .. }) if reason.contains("no answer")));
    // This one waits behind the first and is given up before it began: its file never comes to be.
    let outcome = volume.create(shard(2), Bytes::from_static(b"x")).await;
    assert!(matches!(outcome, Err(VolumeError::Unavailable { .. })), "{outcome:?}");
    tokio::task::spawn_blocking({
        let path = path.clone();
        move || release(&path, shard(1))
    })
    .await
    .unwrap();
    while volume.places.available_permits() < IoConfig::default().queue {
        tokio::task::yield_now().await;
    }
    assert!(!file(&path, shard(2)).exists());
}

#[tokio::test]
async fn a_create_whose_caller_left_meanwhile_is_undone() {
    let (_temporary, path, volume) = volume(IoConfig { threads: 1, ..IoConfig::default() }).await;
    let (begun, begin) = std::sync::mpsc::channel();
    let (proceed, wait) = std::sync::mpsc::channel::<()>();
    let shard = shard(1);
    let mut create = Box::pin(volume.run_or_undo(
        "create",
        true,
        move |shared| {
            begun.send(()).unwrap();
            wait.recv().unwrap();
            shared.directory()?.create(shard, &Bytes::from_static(b"x"))
        },
        move |shared| shared.directory().unwrap().remove(shard).unwrap(),
    ));
    // Sent, then abandoned while it runs.
    assert!(futures_util::poll!(&mut create).is_pending());
    tokio::task::spawn_blocking(move || begin.recv().unwrap()).await.unwrap();
    drop(create);
    proceed.send(()).unwrap();
    volume.list(1).await.unwrap();
    assert!(!file(&path, shard).exists());
}

#[tokio::test]
async fn threads_survive_a_panic_and_end_with_the_volume() {
    let (_temporary, _path, volume) = volume(IoConfig { threads: 1, ..IoConfig::default() }).await;
    let outcome: Result<()> = volume.run("panic", |_| panic!("on purpose")).await;
    assert!(matches!(outcome, Err(VolumeError::Unavailable { .. })), "{outcome:?}");
    store(&volume, shard(1), b"x").await;
    let shared = Arc::downgrade(&volume.shared);
    drop(volume);
    while shared.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn usage_is_the_file_systems_or_within_a_capacity_what_its_files_hold() {
    let (_temporary, path, whole) = volume(IoConfig::default()).await;
    let space = rustix::fs::statvfs(&path).unwrap();
    let usage = whole.usage().await.unwrap();
    assert_eq!(usage.capacity, space.f_blocks * space.f_frsize);
    assert!(usage.used <= usage.capacity);

    let capacity = 1 << 20;
    let (_temporary, path, limited) = volume(IoConfig { capacity: Some(capacity), ..IoConfig::default() }).await;
    for seq in 0..256 {
        store(&limited, shard(seq), b"0123456789").await;
    }
    // Four directories give an estimate of all, and all of them the truth.
    assert_eq!(limited.usage().await.unwrap(), Usage { capacity, used: 2560 });
    fs::File::options().write(true).open(file(&path, shard(200))).unwrap().write_at(&[1; 1000], 0).unwrap();
    for _ in 0..63 {
        limited.usage().await.unwrap();
    }
    assert_eq!(limited.usage().await.unwrap().used, 255 * 10 + 1000);
    // Written since, in a directory that was measured.
    store(&limited, shard(0x1c8), b"0123456789").await;
    assert_eq!(limited.usage().await.unwrap().used, 255 * 10 + 1010);
}

#[tokio::test]
async fn documents_are_whole_or_not_there() {
    let (_temporary, path, volume) = volume(IoConfig::default()).await;
    assert_eq!(volume.documents().await.unwrap(), Vec::<String>::new());
    assert_eq!(volume.document("a.b-1").await.unwrap(), None);
    volume.remove_document("a.b-1").await.unwrap();
    for content in ["first", "second, longer", ""] {
        volume.put_document("a.b-1", Bytes::from(content)).await.unwrap();
        assert_eq!(volume.document("a.b-1").await.unwrap(), Some(Bytes::from(content)));
    }
    // What a crash leaves of one that was being written is none.
    fs::write(path.join("snapshots/c.new"), "half").unwrap();
    assert_eq!(volume.documents().await.unwrap(), ["a.b-1"]);
    for name in ["", "..", "../volume.json", "a/b", ".hidden", "a b"] {
        assert!(volume.put_document(name, Bytes::new()).await.is_err(), "{name:?}");
        assert!(volume.document(name).await.is_err(), "{name:?}");
        assert!(volume.remove_document(name).await.is_err(), "{name:?}");
    }
    volume.remove_document("a.b-1").await.unwrap();
    assert_eq!(volume.documents().await.unwrap(), Vec::<String>::new());
}
