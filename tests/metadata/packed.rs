//! Small writes, committed in batches.

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    a_batch_becomes_visible_at_once,
    each_write_of_a_batch_fails_for_itself,
    overwriting_releases_what_was_there,
    a_closed_chunk_takes_no_more,
    a_chunk_in_which_nothing_lives_dies_when_it_is_ended,
    lost_shards_are_queued_once,
    parts_may_be_packed,
    rows_move_only_if_they_are_what_was_read,
    batches_must_be_what_they_say,
    batches_on_the_same_keys_and_chunks_wait_for_each_other,
);

/// An open packed chunk, as a lane has it.
pub struct Pack {
    id: ChunkId,
    committed: Option<u64>,
    end: u64,
}

impl Pack {
    pub fn new(f: &Fixture) -> Self {
        Self { id: f.chunk_id(), committed: None, end: 4096 }
    }

    /// A place for so many bytes, in a stripe of their own behind a header of 40.
    pub fn extent(&mut self, len: u64) -> Extent {
        let stripe_len = len as u32 + 40;
        let position = self.end;
        self.end += 32 + u64::from(stripe_len.div_ceil(6));
        Extent { start: 0, chunk: self.id, position, stripe_len, skip: 40, len }
    }

    pub fn commit(&mut self, writes: Vec<PackedWrite>) -> PackedCommit {
        let slot = |i| Some(Slot { volume: VolumeSlot(i as u16 + 1), generation: 0 });
        let appended = Appended {
            chunk: self.id,
            placement: Placement(std::array::from_fn(slot)),
            missing: ShardSet::default(),
            from: self.committed,
            end: self.end,
            len: 100_000,
        };
        self.committed = Some(self.end);
        PackedCommit { batch: batch(), appended: Some(appended), writes, now: NOW }
    }
}

pub fn put(key: &str, extent: Option<Extent>) -> PackedWrite {
    PackedWrite::Put { bucket: BUCKET.into(), object: object(key).into(), extent, condition: WriteCondition::default() }
}

async fn ok(f: &Fixture, commit: &PackedCommit) {
    for result in f.meta.commit_packed(commit).await.unwrap() {
        result.unwrap();
    }
}

async fn live(f: &Fixture) -> i64 {
    f.raw.int("SELECT CAST(SUM(live) AS BIGINT) FROM chunks").await
}

async fn a_batch_becomes_visible_at_once(f: &Fixture) {
    let mut pack = Pack::new(f);
    let (a, b) = (pack.extent(10), pack.extent(2000));
    ok(f, &pack.commit(vec![put("a", Some(a)), put("b", Some(b)), put("empty", None)])).await;
    let found = f.resolve("b").await.unwrap();
    assert_eq!(found.object.content, Content::Packed(b));
    assert_eq!((found.extents.len(), found.extents[0].extent, found.extents[0].packed), (1, b, true));
    assert_eq!(f.resolve("a").await.unwrap().extents[0].extent, a);
    assert_eq!(f.resolve("empty").await.unwrap().object.content, Content::Empty);
    let c = pack.extent(7);
    ok(f, &pack.commit(vec![put("c", Some(c))])).await;
    assert_eq!(f.raw.ints("SELECT live, file_end, packed FROM chunks").await, [[2017, pack.end as i64, 1]]);
    // Nothing of the range is wanted: nothing is said of where it is.
    let head = f.meta.resolve(BUCKET, "c", None, ReadRange::Nothing).await.unwrap();
    assert_eq!((head.object.content, head.extents.len()), (Content::Packed(c), 0));
    f.meta.seal_packed(pack.id).await.unwrap();
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE state = 'sealed'").await, 1);
}

async fn each_write_of_a_batch_fails_for_itself(f: &Fixture) {
    let mut pack = Pack::new(f);
    let first = pack.extent(10);
    ok(f, &pack.commit(vec![put("taken", Some(first))])).await;
    let [a, b, c, d] = std::array::from_fn(|_| pack.extent(10));
    let nowhere = PackedWrite::Put {
        bucket: "nowhere".into(),
        object: object("x").into(),
        extent: Some(a),
        condition: WriteCondition::default(),
    };
    let absent = WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() };
    let taken =
        PackedWrite::Put { bucket: BUCKET.into(), object: object("taken").into(), extent: Some(b), condition: absent };
    let part = PartCommit {
        batch: batch(),
        bucket: BUCKET.into(),
        key: "m".into(),
        upload: upload_id(NOW),
        number: 1,
        etag: "e".into(),
        checksum: None,
        modified: NOW,
        source: PartSource::New(NewData { len: 10, chunks: vec![], extents: vec![c] }),
    };
    let commit = pack.commit(vec![nowhere, taken, PackedWrite::Part(part), put("good", Some(d))]);
    let results = f.meta.commit_packed(&commit).await.unwrap();
    assert!(matches!(&results[0], Err(Error::NoSuchBucket(name)) if name == "nowhere"), "{:?}", results[0]);
    assert!(matches!(&results[1], Err(Error::PreconditionFailed { .. })), "{:?}", results[1]);
    assert!(matches!(&results[2], Err(Error::NoSuchUpload { .. })), "{:?}", results[2]);
    assert!(results[3].is_ok());
    assert_eq!(f.resolve("taken").await.unwrap().object.content, Content::Packed(first));
    assert_eq!(f.resolve("good").await.unwrap().object.content, Content::Packed(d));
    assert_eq!(live(f).await, 20, "the bytes of those that failed are dead");
    assert_eq!(f.raw.int("SELECT file_end FROM chunks").await, pack.end as i64);
}

async fn overwriting_releases_what_was_there(f: &Fixture) {
    let mut pack = Pack::new(f);
    f.commit("large", &[5000]).await;
    let (a, b) = (pack.extent(10), pack.extent(20));
    ok(f, &pack.commit(vec![put("large", Some(a)), put("k", Some(b))])).await;
    let c = pack.extent(30);
    ok(f, &pack.commit(vec![put("k", Some(c)), put("large", None)])).await;
    f.check().await;
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM released").await, 3);
    assert_eq!(f.fold_all().await, Folded { rows: 3, data: 1, chunks: 1 });
    assert_eq!(f.raw.ints("SELECT live FROM chunks WHERE packed = 1").await, [[30]]);
    let large = f.put("k", &[100]);
    f.meta.commit_put(&large).await.unwrap();
    f.meta.seal_packed(pack.id).await.unwrap();
    f.check().await;
    assert_eq!(f.fold_all().await, Folded { rows: 1, data: 0, chunks: 1 });
    assert_eq!(f.dead(10).await.len(), 2);
}

async fn a_closed_chunk_takes_no_more(f: &Fixture) {
    let mut pack = Pack::new(f);
    let a = pack.extent(10);
    ok(f, &pack.commit(vec![put("a", Some(a))])).await;
    // A batch that was written behind another one that was not committed.
    let lost = pack.extent(10);
    drop(pack.commit(vec![put("b", Some(lost))]));
    let late = pack.extent(10);
    let commit = pack.commit(vec![put("c", Some(late))]);
    assert!(matches!(f.meta.commit_packed(&commit).await, Err(Error::RangeClosed)));
    // One whose chunk was ended by somebody else.
    pack.committed = Some(f.raw.int("SELECT file_end FROM chunks").await as u64);
    f.meta.seal_packed(pack.id).await.unwrap();
    let commit = pack.commit(vec![put("d", Some(late))]);
    assert!(matches!(f.meta.commit_packed(&commit).await, Err(Error::RangeClosed)));
    // One whose instance was.
    let mut other = Pack::new(f);
    let e = other.extent(10);
    f.meta.close_instance(f.instance).await.unwrap();
    assert!(matches!(f.meta.commit_packed(&other.commit(vec![put("e", Some(e))])).await, Err(Error::RangeClosed)));
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM objects").await, 1);
    assert_eq!(live(f).await, 10);
}

async fn a_chunk_in_which_nothing_lives_dies_when_it_is_ended(f: &Fixture) {
    let (mut ended, mut closed) = (Pack::new(f), Pack::new(f));
    for (pack, key) in [(&mut ended, "a"), (&mut closed, "b")] {
        let extent = pack.extent(10);
        ok(f, &pack.commit(vec![put(key, Some(extent))])).await;
        f.meta.queue_heal(pack.id, 3, "for the test", NOW).await.unwrap();
        f.delete(key).await;
    }
    assert_eq!(f.fold_all().await.chunks, 0, "they are open");
    f.meta.seal_packed(ended.id).await.unwrap();
    f.meta.close_instance(f.instance).await.unwrap();
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE state = 'dead'").await, 2);
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
}

async fn lost_shards_are_queued_once(f: &Fixture) {
    let mut pack = Pack::new(f);
    let a = pack.extent(10);
    let mut commit = pack.commit(vec![put("a", Some(a))]);
    commit.appended.as_mut().unwrap().missing.insert(2);
    ok(f, &commit).await;
    let b = pack.extent(10);
    let mut commit = pack.commit(vec![put("b", Some(b))]);
    let missing = &mut commit.appended.as_mut().unwrap().missing;
    missing.insert(2);
    missing.insert(8);
    ok(f, &commit).await;
    assert_eq!(f.raw.ints("SELECT shard, noted FROM heal_queue ORDER BY shard").await, [[2, 1], [8, 1]]);
    assert_eq!(f.resolve("a").await.unwrap().extents[0].missing.len(), 2);
}

async fn parts_may_be_packed(f: &Fixture) {
    let upload = f.upload("m").await;
    let mut pack = Pack::new(f);
    let mut commits = Vec::new();
    for len in [10, 20] {
        let extent = pack.extent(len);
        let part = PartCommit {
            batch: batch(),
            bucket: BUCKET.into(),
            key: "m".into(),
            upload: upload.clone(),
            number: 1,
            etag: format!("{len:032x}"),
            checksum: None,
            modified: NOW,
            source: PartSource::New(NewData { len, chunks: vec![], extents: vec![extent] }),
        };
        commits.push(pack.commit(vec![PackedWrite::Part(part)]));
    }
    for commit in &commits {
        ok(f, commit).await;
    }
    let parts = f.parts("m", &upload).await;
    assert_eq!((parts.len(), parts[0].size), (1, 20));
    f.check().await;
    let complete = CompleteCommit {
        batch: batch(),
        bucket: BUCKET.into(),
        key: "m".into(),
        upload,
        parts,
        object: object("m"),
        condition: WriteCondition::default(),
    };
    f.meta.complete_upload(&complete).await.unwrap();
    let found = f.resolve("m").await.unwrap();
    assert_eq!((found.object.size, found.extents.len(), found.extents[0].packed), (20, 1, true));
    f.fold_all().await;
    assert_eq!(live(f).await, 20);
}

async fn rows_move_only_if_they_are_what_was_read(f: &Fixture) {
    let mut old = Pack::new(f);
    let [a, b, c] = std::array::from_fn(|_| old.extent(10));
    ok(f, &old.commit(vec![put("stays", Some(a)), put("changes", Some(b)), put("goes", Some(c))])).await;
    f.meta.seal_packed(old.id).await.unwrap();
    assert!(f.meta.sparse_chunks(ChunkId { seq: 0, nonce: 0 }, 10).await.unwrap() == [old.id]);
    let mut entries = f.meta.packed_entries(old.id, 10).await.unwrap();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["changes", "goes", "stays"]);
    let mut new = Pack::new(f);
    let d = new.extent(11);
    ok(f, &new.commit(vec![put("changes", Some(d))])).await;
    f.delete("goes").await;
    let writes = entries.iter().map(|entry| PackedWrite::Move {
        owner: entry.owner.clone(),
        from: entry.placed.extent,
        to: new.extent(10),
        modified: NOW,
    });
    let writes = writes.collect();
    let commit = new.commit(writes);
    let results = f.meta.commit_packed(&commit).await.unwrap();
    assert!(matches!(results[0], Err(Error::SourceChanged)), "{:?}", results[0]);
    assert!(matches!(results[1], Err(Error::SourceChanged)), "{:?}", results[1]);
    assert!(results[2].is_ok());
    let Content::Packed(moved) = f.resolve("stays").await.unwrap().object.content else { panic!("it is packed") };
    assert_eq!(moved.chunk, new.id);
    assert_eq!(f.resolve("changes").await.unwrap().object.content, Content::Packed(d));
    f.check().await;
    assert_eq!(f.fold_all().await.chunks, 1, "nothing lives in the old chunk");
    assert_eq!(live(f).await, 21);
}

async fn batches_must_be_what_they_say(f: &Fixture) {
    let (mut pack, mut other) = (Pack::new(f), Pack::new(f));
    let elsewhere = other.extent(10);
    let commit = pack.commit(vec![put("k", Some(elsewhere))]);
    assert!(matches!(f.meta.commit_packed(&commit).await, Err(Error::Corrupt(_))));
    let nowhere = PackedCommit { appended: None, ..commit };
    assert!(matches!(f.meta.commit_packed(&nowhere).await, Err(Error::Corrupt(_))));
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks").await, 0);
    let empty = PackedCommit { batch: batch(), appended: None, writes: vec![put("k", None)], now: NOW };
    ok(f, &empty).await;
    assert_eq!(f.resolve("k").await.unwrap().object.size, 0);
}

async fn batches_on_the_same_keys_and_chunks_wait_for_each_other(f: &Fixture) {
    // Four lanes overwrite the same keys, in different orders, while releases are folded: nobody may be deadlocked for good,
    // and the accounts must be right in the end.
    let lanes = (0..4usize).map(|lane| {
        let mut pack = Pack::new(f);
        let commits: Vec<PackedCommit> = (0..12usize)
            .map(|round| {
                let writes = (0..8usize).map(|n| {
                    let key = format!("k{}", (n * (lane * 2 + 1) + round) % 8);
                    let extent = pack.extent(10 + n as u64);
                    put(&key, Some(extent))
                });
                let writes = writes.collect();
                pack.commit(writes)
            })
            .collect();
        let meta = f.meta.clone();
        async move {
            for commit in commits {
                for result in meta.commit_packed(&commit).await.unwrap() {
                    result.unwrap();
                }
            }
        }
    });
    let lease = f.lease("gc").await;
    let (meta, folding) = (f.meta.clone(), lease);
    let fold = tokio::spawn(async move {
        for _ in 0..20 {
            meta.fold_released(&folding, 50).await.unwrap();
        }
    });
    all(lanes.collect::<Vec<_>>()).await;
    fold.await.unwrap();
    f.check().await;
    f.fold_all().await;
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM objects").await, 8);
    let sizes = f.raw.int("SELECT CAST(SUM(size) AS BIGINT) FROM objects").await;
    assert_eq!(live(f).await, sizes);
}
