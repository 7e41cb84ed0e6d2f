//! Transactions that meet. The first half holds one still at the point that matters (PostgreSQL; SQLite has one writer);
//! the second lets many loose on the same rows, on both databases, and recomputes every count afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ninefold::clock::random_bytes;
use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;
use crate::locks::*;
use crate::packed::{Pack, put as packed_put};

/// Runs tests that hold transactions still.
macro_rules! held_still {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let fixture = std::sync::Arc::new(crate::fixture::Fixture::postgres().await);
                Box::pin(super::$test(&fixture)).await;
                fixture.check().await;
            }
        })*
    };
}

held_still!(
    a_writer_reads_what_the_one_before_it_left,
    of_two_who_create_a_key_one_is_first,
    a_bucket_is_not_deleted_under_a_writer,
    nothing_is_written_into_a_bucket_that_is_being_deleted,
    a_writer_holds_the_bucket_row_whole,
    a_range_is_not_closed_under_a_commit,
    a_commit_that_waited_for_its_range_finds_it_closed,
    a_judge_is_not_held_up_by_who_stopped_in_the_middle_of_a_transaction,
    a_report_that_waited_for_its_instance_to_be_closed_says_nothing,
    folding_waits_for_a_copy_and_counts_it,
    a_copy_that_waited_for_folding_finds_the_data_gone,
    a_range_reference_keeps_its_chunk_alive,
    completing_waits_for_a_part_and_sees_it,
    aborting_waits_for_a_part_and_releases_it,
    a_part_that_waited_for_an_abort_finds_no_upload,
    parts_of_an_upload_do_not_wait_for_each_other,
    expiry_sees_the_part_that_it_waited_for,
    the_next_holder_of_a_lease_waits_for_what_runs_under_it,
    folding_takes_only_rows_that_nobody_else_takes,
    nobody_waits_for_who_keeps_or_drops_data,
    a_volume_drains_from_when_its_job_is_asked_for,
);

/// A task that runs a method of the metadata.
macro_rules! spawn {
    ($f:expr, $meta:ident => $call:expr) => {{
        let $meta = $f.meta.clone();
        tokio::spawn(async move { $call.await })
    }};
}

// Rules 1 and 3: what a key holds is read after the key was locked, in another statement.
async fn a_writer_reads_what_the_one_before_it_left(f: &Arc<Fixture>) {
    f.commit("key", &[10]).await;
    let row = Session::lock(f, "SELECT 1 FROM objects FOR UPDATE").await;
    let (first, second) = (f.put("key", &[20]), f.put("key", &[30]));
    let first = spawn!(f, meta => meta.commit_put(&first));
    waiting(f, 1).await;
    let second = spawn!(f, meta => meta.commit_put(&second));
    waiting(f, 2).await;
    row.roll_back().await;
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    // Had the second not seen the first's object, it would have released the same data once more, and the first's never.
    f.check().await;
    assert_eq!(f.fold_all().await, Folded { rows: 2, data: 2, chunks: 2 });
    assert_eq!(f.resolve("key").await.unwrap().object.size, 30);
}

// Rule 3: a key without a row is locked all the same.
async fn of_two_who_create_a_key_one_is_first(f: &Arc<Fixture>) {
    let absent = |commit: PutCommit| PutCommit {
        condition: WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() },
        ..commit
    };
    let (first, second) = (absent(f.put("key", &[20])), absent(f.put("key", &[30])));
    let held = Session::lock(f, &same_chunk(&first.data)).await;
    let first = spawn!(f, meta => meta.commit_put(&first));
    waiting(f, 1).await;
    let second = spawn!(f, meta => meta.commit_put(&second));
    waiting(f, 2).await;
    held.roll_back().await;
    first.await.unwrap().unwrap();
    assert!(matches!(second.await.unwrap(), Err(Error::PreconditionFailed { .. })));
}

// Rule 2.
async fn a_bucket_is_not_deleted_under_a_writer(f: &Arc<Fixture>) {
    let put = f.put("key", &[20]);
    let held = Session::lock(f, &same_chunk(&put.data)).await;
    let put = spawn!(f, meta => meta.commit_put(&put));
    waiting(f, 1).await;
    let delete = spawn!(f, meta => meta.delete_bucket(BUCKET, NOW));
    waiting(f, 2).await;
    held.roll_back().await;
    put.await.unwrap().unwrap();
    assert!(matches!(delete.await.unwrap(), Err(Error::BucketNotEmpty(_))));
}

async fn nothing_is_written_into_a_bucket_that_is_being_deleted(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[5])).await.unwrap();
    let held = Session::lock(f, "SELECT 1 FROM uploads FOR UPDATE").await;
    let delete = spawn!(f, meta => meta.delete_bucket(BUCKET, NOW));
    waiting(f, 1).await;
    let (put, other) = (f.put("key", &[20]), new_upload("key", NOW));
    let put = spawn!(f, meta => meta.commit_put(&put));
    let create = spawn!(f, meta => meta.create_upload(&other));
    waiting(f, 3).await;
    held.roll_back().await;
    delete.await.unwrap().unwrap();
    assert!(matches!(put.await.unwrap(), Err(Error::NoSuchBucket(_))));
    assert!(matches!(create.await.unwrap(), Err(Error::NoSuchBucket(_))));
    assert_eq!(f.fold_all().await.chunks, 1);
}

// A weaker lock would let the bucket's settings change under a writer that depends on them.
async fn a_writer_holds_the_bucket_row_whole(f: &Arc<Fixture>) {
    let put = f.put("key", &[20]);
    let held = Session::lock(f, &same_chunk(&put.data)).await;
    let put = spawn!(f, meta => meta.commit_put(&put));
    waiting(f, 1).await;
    let mut session = Session::new(f).await;
    let code = session.refused("SELECT 1 FROM buckets FOR NO KEY UPDATE NOWAIT").await;
    assert_eq!(code, "55P03");
    session.run("SELECT 1 FROM buckets FOR SHARE NOWAIT").await;
    held.roll_back().await;
    put.await.unwrap().unwrap();
}

// Rule 4.
async fn a_range_is_not_closed_under_a_commit(f: &Arc<Fixture>) {
    let put = f.put("key", &[20]);
    let held = Session::lock(f, &same_chunk(&put.data)).await;
    let put = spawn!(f, meta => meta.commit_put(&put));
    waiting(f, 1).await;
    let instance = f.instance;
    let close = spawn!(f, meta => meta.close_instance(instance));
    waiting(f, 2).await;
    held.roll_back().await;
    put.await.unwrap().unwrap();
    close.await.unwrap().unwrap();
    assert!(matches!(f.meta.commit_put(&f.put("late", &[1])).await, Err(Error::RangeClosed)));
    assert!(f.resolve("key").await.is_ok());
}

async fn a_judge_is_not_held_up_by_who_stopped_in_the_middle_of_a_transaction(f: &Arc<Fixture>) {
    let timeout = Duration::from_secs(2);
    let judge = f.meta.register_instance().await.unwrap();
    let stopped = Session::lock(f, "SELECT first FROM id_ranges FOR SHARE").await;
    f.raw.execute(&format!("UPDATE instances SET heartbeat_at = 0 WHERE instance_id <> {}", judge.0)).await;
    // Far less than a statement may take.
    let judgement =
        tokio::time::timeout(f.config.statement_timeout / 2, f.meta.close_silent(judge, f.instance, timeout));
    assert!(matches!(judgement.await.unwrap(), Err(Error::Unavailable(_))));
    f.meta.heartbeat(judge, 0).await.unwrap();
    stopped.roll_back().await;
    assert!(f.meta.close_silent(judge, f.instance, timeout).await.unwrap());
}

async fn a_report_that_waited_for_its_instance_to_be_closed_says_nothing(f: &Arc<Fixture>) {
    let instance = f.meta.register_instance().await.unwrap();
    let sql = format!("UPDATE instances SET state = 'closed' WHERE instance_id = {}", instance.0);
    let closer = Session::lock(f, &sql).await;
    let report =
        VolumeReport { slot: VolumeSlot(1), status: "healthy".into(), full: false, used: 1, capacity: 2, error: None };
    let said = spawn!(f, meta => meta.report_volumes(instance, std::slice::from_ref(&report)));
    waiting(f, 1).await;
    closer.commit().await;
    said.await.unwrap().unwrap();
    // Or else nobody could ever forget the instance.
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM volume_reports").await, 0);
    f.meta.forget_instances(&f.lease("sweep").await).await.unwrap();
}

async fn a_commit_that_waited_for_its_range_finds_it_closed(f: &Arc<Fixture>) {
    let closer = Session::lock(f, "UPDATE id_ranges SET state = 'closed'").await;
    let upload = f.upload("key").await;
    let (put, part) = (f.put("key", &[20]), f.part("key", &upload, 1, &[20]));
    let put = spawn!(f, meta => meta.commit_put(&put));
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 2).await;
    closer.commit().await;
    assert!(matches!(put.await.unwrap(), Err(Error::RangeClosed)));
    assert!(matches!(part.await.unwrap(), Err(Error::RangeClosed)));
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks").await, 0);
}

// Rule 6.
async fn folding_waits_for_a_copy_and_counts_it(f: &Arc<Fixture>) {
    f.commit("source", &[20]).await;
    f.commit("copy", &[]).await;
    let copy = f.copy("source", "copy").await;
    f.delete("source").await;
    let row = Session::lock(f, "SELECT 1 FROM objects FOR UPDATE").await;
    let copy = spawn!(f, meta => meta.commit_copy(&copy));
    waiting(f, 1).await;
    let lease = f.lease("gc").await;
    let fold = spawn!(f, meta => meta.fold_released(&lease, 100));
    waiting(f, 2).await;
    row.roll_back().await;
    copy.await.unwrap().unwrap();
    assert_eq!(fold.await.unwrap().unwrap(), Folded { rows: 1, data: 0, chunks: 0 });
    assert_eq!(f.resolve("copy").await.unwrap().extents.len(), 1);
}

async fn a_copy_that_waited_for_folding_finds_the_data_gone(f: &Arc<Fixture>) {
    f.commit("source", &[20]).await;
    let copy = f.copy("source", "copy").await;
    let upload = f.upload("key").await;
    let source = PartSource::Range { data: copy.data, range: 3..7 };
    let part = PartCommit { source, ..f.part("key", &upload, 1, &[]) };
    f.delete("source").await;
    let chunk = Session::lock(f, "SELECT 1 FROM chunks FOR UPDATE").await;
    let lease = f.lease("gc").await;
    let fold = spawn!(f, meta => meta.fold_released(&lease, 100));
    waiting(f, 1).await;
    let copy = spawn!(f, meta => meta.commit_copy(&copy));
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 3).await;
    chunk.roll_back().await;
    assert_eq!(fold.await.unwrap().unwrap(), Folded { rows: 1, data: 1, chunks: 1 });
    assert!(matches!(copy.await.unwrap(), Err(Error::SourceChanged)));
    assert!(matches!(part.await.unwrap(), Err(Error::SourceChanged)));
}

async fn a_range_reference_keeps_its_chunk_alive(f: &Arc<Fixture>) {
    f.commit("source", &[20]).await;
    let data = f.data_of("source").await;
    let upload = f.upload("key").await;
    let part =
        |number| PartCommit { source: PartSource::Range { data, range: 3..7 }, ..f.part("key", &upload, number, &[]) };
    let parts = [part(1), part(2)];
    f.meta.commit_part(&part(1)).await.unwrap();
    f.delete("source").await;
    // Held at the row of the part that it replaces, with the source's data and chunk locked.
    let row = Session::lock(f, "SELECT 1 FROM parts FOR UPDATE").await;
    let [first, second] = parts;
    let first = spawn!(f, meta => meta.commit_part(&first));
    waiting(f, 1).await;
    let lease = f.lease("gc").await;
    let fold = spawn!(f, meta => meta.fold_released(&lease, 100));
    waiting(f, 2).await;
    row.roll_back().await;
    first.await.unwrap().unwrap();
    assert_eq!(fold.await.unwrap().unwrap().chunks, 0);
    assert!(matches!(f.meta.commit_part(&second).await, Err(Error::SourceChanged)));
    f.check().await;
    f.fold_all().await;
    assert_eq!(f.raw.int("SELECT live FROM chunks").await, 4);
    f.meta.abort_upload(BUCKET, "key", &upload, NOW).await.unwrap();
    assert_eq!(f.fold_all().await.chunks, 1);
}

// Rule 7.
async fn completing_waits_for_a_part_and_sees_it(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[10])).await.unwrap();
    let complete = f.complete("key", &upload, f.parts("key", &upload).await);
    let again = f.part("key", &upload, 1, &[10]);
    let PartSource::New(data) = &again.source else { panic!() };
    let held = Session::lock(f, &same_chunk(data)).await;
    let part = spawn!(f, meta => meta.commit_part(&again));
    waiting(f, 1).await;
    let complete = spawn!(f, meta => meta.complete_upload(&complete));
    waiting(f, 2).await;
    held.roll_back().await;
    part.await.unwrap().unwrap();
    assert!(matches!(complete.await.unwrap(), Err(Error::InvalidPart { number: 1, .. })));
}

async fn aborting_waits_for_a_part_and_releases_it(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    let part = f.part("key", &upload, 1, &[10]);
    let PartSource::New(data) = &part.source else { panic!() };
    let held = Session::lock(f, &same_chunk(data)).await;
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 1).await;
    let id = upload.clone();
    let abort = spawn!(f, meta => meta.abort_upload(BUCKET, "key", &id, NOW));
    waiting(f, 2).await;
    held.roll_back().await;
    part.await.unwrap().unwrap();
    abort.await.unwrap().unwrap();
    assert_eq!(f.fold_all().await, Folded { rows: 1, data: 1, chunks: 1 });
}

async fn a_part_that_waited_for_an_abort_finds_no_upload(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[10])).await.unwrap();
    let held = Session::lock(f, "SELECT 1 FROM parts FOR UPDATE").await;
    let id = upload.clone();
    let abort = spawn!(f, meta => meta.abort_upload(BUCKET, "key", &id, NOW));
    waiting(f, 1).await;
    let part = f.part("key", &upload, 2, &[10]);
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 2).await;
    held.roll_back().await;
    abort.await.unwrap().unwrap();
    assert!(matches!(part.await.unwrap(), Err(Error::NoSuchUpload { .. })));
    assert_eq!(f.fold_all().await.chunks, 1);
}

async fn parts_of_an_upload_do_not_wait_for_each_other(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    let part = f.part("key", &upload, 1, &[10]);
    let PartSource::New(data) = &part.source else { panic!() };
    let held = Session::lock(f, &same_chunk(data)).await;
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 1).await;
    f.meta.commit_part(&f.part("key", &upload, 2, &[10])).await.unwrap();
    f.commit("key", &[1]).await;
    held.roll_back().await;
    part.await.unwrap().unwrap();
}

async fn expiry_sees_the_part_that_it_waited_for(f: &Arc<Fixture>) {
    let upload = new_upload("key", NOW - 1000);
    f.meta.create_upload(&upload).await.unwrap();
    let part = f.part("key", &upload.id, 1, &[10]);
    let PartSource::New(data) = &part.source else { panic!() };
    let held = Session::lock(f, &same_chunk(data)).await;
    let part = spawn!(f, meta => meta.commit_part(&part));
    waiting(f, 1).await;
    let lease = f.lease("expiry").await;
    let expire = spawn!(f, meta => meta.expire_uploads(&lease, NOW - 500, NOW, 10));
    waiting(f, 2).await;
    held.roll_back().await;
    part.await.unwrap().unwrap();
    assert_eq!(expire.await.unwrap().unwrap(), 0);
    assert_eq!(f.parts("key", &upload.id).await.len(), 1);
}

// Rule 15: whoever holds the next token has nobody of an earlier one beside him.
async fn the_next_holder_of_a_lease_waits_for_what_runs_under_it(f: &Arc<Fixture>) {
    f.commit("key", &[20]).await;
    f.delete("key").await;
    let data = Session::lock(f, "SELECT 1 FROM data FOR UPDATE").await;
    let lease = f.meta.acquire_lease("gc", f.instance, Duration::from_secs(3)).await.unwrap().unwrap();
    let running = lease.clone();
    let fold = spawn!(f, meta => meta.fold_released(&running, 100));
    waiting(f, 1).await;
    let other = f.meta.register_instance().await.unwrap();
    let until = f.raw.int("SELECT until FROM leases").await;
    let clock = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    while f.raw.int(clock).await <= until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let acquire = spawn!(f, meta => meta.acquire_lease("gc", other, Duration::from_secs(60)));
    waiting(f, 2).await;
    data.roll_back().await;
    assert_eq!(fold.await.unwrap().unwrap().chunks, 1);
    let next = acquire.await.unwrap().unwrap().unwrap();
    assert!(next.token > lease.token);
    assert!(matches!(f.meta.fold_released(&lease, 100).await, Err(Error::LeaseLost(_))));
}

async fn folding_takes_only_rows_that_nobody_else_takes(f: &Arc<Fixture>) {
    for key in ["a", "b"] {
        f.commit(key, &[20]).await;
        f.delete(key).await;
    }
    let lease = f.lease("gc").await;
    let first = Session::lock(f, "SELECT 1 FROM released ORDER BY released_id LIMIT 1 FOR UPDATE").await;
    assert_eq!(f.meta.fold_released(&lease, 100).await.unwrap().rows, 1);
    first.roll_back().await;
    assert_eq!(f.meta.fold_released(&lease, 100).await.unwrap().rows, 1);
}

// Who keeps what a key held, or drops it, refers to data in the order of its keys, and drops some before it keeps others: did folding
// and copying wait for that, and it for them, they would wait for each other.
async fn nobody_waits_for_who_keeps_or_drops_data(f: &Arc<Fixture>) {
    f.meta.change_bucket(BUCKET, &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
    let delete = |key: &str, version: Option<VersionId>| DeleteKey { key: key.into(), version, ..DeleteKey::default() };
    let first = f.meta.commit_put(&f.put("first", &[10])).await.unwrap();
    f.commit("second", &[20]).await;
    // Both have references that are dropped.
    for from in ["first", "second"] {
        let copy = f.meta.commit_copy(&f.copy(from, "copy").await).await.unwrap();
        f.meta.delete(BUCKET, &[delete("copy", copy)], "owner", NOW).await.unwrap().pop().unwrap().unwrap();
    }
    let held = Session::lock(f, "SELECT 1 FROM objects WHERE key = 'first' FOR UPDATE").await;
    // It has kept the second's data, and is to drop the first's.
    let keys = [delete("second", None), delete("first", first)];
    let deleting = spawn!(f, meta => meta.delete(BUCKET, &keys, "owner", NOW));
    waiting(f, 1).await;
    let lease = f.lease("gc").await;
    let folded = f.meta.fold_released(&lease, 100).await.unwrap();
    assert_eq!(folded, Folded { rows: 2, data: 0, chunks: 0 });
    // A copy of what is being hidden waits for nothing either; a listing does not see it hidden yet.
    f.meta.commit_copy(&f.copy("second", "copy").await).await.unwrap();
    held.roll_back().await;
    for deleted in deleting.await.unwrap().unwrap() {
        deleted.unwrap();
    }
    assert_eq!(f.fold_all().await, Folded { rows: 1, data: 1, chunks: 1 });
}

// Whoever is cut short between the two would leave a volume that takes nothing and that nobody empties.
async fn a_volume_drains_from_when_its_job_is_asked_for(f: &Arc<Fixture>) {
    let spec = VolumeSpec {
        id: "v".into(),
        path: "/v".into(),
        node: "node".into(),
        zone: "zone".into(),
        region: "region".into(),
        weight: 1.0,
        capacity: None,
    };
    let slot = f.meta.register_volumes(&[spec]).await.unwrap()[0].slot;
    assert!(matches!(f.meta.drain_volume(VolumeSlot(9), "drain:w").await, Err(Error::VolumeMismatch { .. })));
    assert_eq!(f.meta.job("drain:w").await.unwrap(), None);
    let asking = "INSERT INTO jobs (name, state, requested, updated) VALUES ('drain:v', 'done', 1, 1)";
    let held = Session::lock(f, asking).await;
    let drain = spawn!(f, meta => meta.drain_volume(slot, "drain:v"));
    waiting(f, 1).await;
    assert!(!f.meta.volumes().await.unwrap()[0].draining, "its job is not asked for yet");
    held.commit().await;
    drain.await.unwrap().unwrap();
    assert!(f.meta.volumes().await.unwrap()[0].draining);
    assert_eq!(f.meta.job("drain:v").await.unwrap().unwrap().state, JobState::Waiting);
}

/// Runs tests that let many loose, on both databases.
macro_rules! let_loose {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let fixture = std::sync::Arc::new(crate::fixture::Fixture::postgres().await);
                Box::pin(super::$test(&fixture)).await;
                fixture.check().await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let fixture = std::sync::Arc::new(crate::fixture::Fixture::sqlite().await);
                Box::pin(super::$test(&fixture)).await;
                fixture.check().await;
            }
        })*
    };
}

let_loose!(
    one_of_many_creates_a_key,
    no_conditional_update_is_lost,
    one_of_many_completes_an_upload,
    one_of_many_healers_moves_a_shard,
    many_hands_on_few_keys_leave_every_count_right,
    many_hands_lose_no_version_and_bring_none_back,
);

async fn one_of_many_creates_a_key(f: &Arc<Fixture>) {
    let commits: Vec<_> = (0..16)
        .map(|_| PutCommit {
            condition: WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() },
            ..f.put("key", &[10])
        })
        .collect();
    let results = all(commits.into_iter().map(|commit| {
        let meta = f.meta.clone();
        async move { meta.commit_put(&commit).await }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results {
        assert!(matches!(result, Ok(_) | Err(Error::PreconditionFailed { .. })), "{result:?}");
    }
}

async fn no_conditional_update_is_lost(f: &Arc<Fixture>) {
    f.commit("counter", &[]).await;
    let bumps = (0..6).map(|_| {
        let f = f.clone();
        async move {
            for _ in 0..5 {
                loop {
                    let current = f.resolve("counter").await.unwrap().object;
                    let mut commit = f.put("counter", &[]);
                    let count = current.tags.get("count").map_or(0, |count| count.parse::<u32>().unwrap());
                    commit.object.tags.insert("count".into(), (count + 1).to_string());
                    commit.condition.etags = Some(vec![current.etag]);
                    match f.meta.commit_put(&commit).await {
                        Ok(_) => break,
                        Err(Error::PreconditionFailed { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
    all(bumps).await;
    assert_eq!(f.resolve("counter").await.unwrap().object.tags["count"], "30");
}

async fn one_of_many_completes_an_upload(f: &Arc<Fixture>) {
    let upload = f.upload("key").await;
    for number in 1..=3 {
        f.meta.commit_part(&f.part("key", &upload, number, &[10])).await.unwrap();
    }
    let parts = f.parts("key", &upload).await;
    let completes: Vec<_> = (0..8).map(|_| f.complete("key", &upload, parts.clone())).collect();
    let results = all(completes.into_iter().map(|commit| {
        let meta = f.meta.clone();
        async move { meta.complete_upload(&commit).await }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results {
        assert!(matches!(result, Ok(_) | Err(Error::NoSuchUpload { .. })), "{result:?}");
    }
    f.delete("key").await;
    assert_eq!(f.fold_all().await.chunks, 3);
}

// Rule 12.
async fn one_of_many_healers_moves_a_shard(f: &Arc<Fixture>) {
    let commit = f.commit("key", &[10]).await;
    let chunk = commit.data.chunks[0].id;
    let from = commit.data.chunks[0].placement.0[4];
    let moves = (20..28u16).map(|volume| {
        let meta = f.meta.clone();
        async move {
            let to =
                meta.announce_shard(chunk, 4, from, VolumeSlot(volume), Duration::from_secs(600)).await.unwrap()?;
            meta.switch_slot(chunk, 4, from, to, Duration::ZERO).await.unwrap().then_some(to)
        }
    });
    let won: Vec<_> = all(moves).await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(f.meta.placement(chunk).await.unwrap().unwrap().0[4], Some(won[0]));
}

async fn many_hands_on_few_keys_leave_every_count_right(f: &Arc<Fixture>) {
    const HANDS: u64 = 8;
    const STEPS: u64 = 40;
    let lease = f.lease("gc").await;
    // Without limits; what it counts is held against the rows, as everything.
    f.meta.set_quota(&QuotaOf::Bucket(BUCKET.into()), QuotaLimits::default()).await.unwrap();
    let hands = (0..HANDS).map(|hand| {
        let (f, lease) = (f.clone(), lease.clone());
        async move {
            for step in 0..STEPS {
                // Deterministic for each hand; what is left to chance is who comes first.
                let dice = xxhash_rust::xxh3::xxh3_64_with_seed(&step.to_le_bytes(), hand);
                let key = format!("key-{}", dice % 3);
                let other = format!("key-{}", dice / 3 % 3);
                let result = match dice / 9 % 8 {
                    0 | 1 => f.meta.commit_put(&f.put(&key, &[1 + dice % 50, 7])).await.map(|_| ()),
                    2 => match f.resolve(&key).await {
                        Ok(Resolved { object: Object { content: Content::Data(data), size, parts, .. }, .. }) => {
                            let (bucket, condition) = (BUCKET.into(), WriteCondition::default());
                            let copy = CopyCommit {
                                batch: batch(),
                                bucket,
                                object: object(&other),
                                data,
                                size,
                                parts,
                                condition,
                            };
                            f.meta.commit_copy(&copy).await.map(|_| ())
                        }
                        other => other.map(|_| ()),
                    },
                    3 => {
                        let keys = [&key, &other].map(|key| DeleteKey { key: key.clone(), ..DeleteKey::default() });
                        f.meta.delete(BUCKET, &keys, "owner", NOW).await.map(|results| {
                            results.into_iter().for_each(|result| _ = result.unwrap());
                        })
                    }
                    4 | 5 => multipart(&f, &key, &other, dice).await,
                    6 => f.meta.fold_released(&lease, 1 + (dice % 20) as u32).await.map(|_| ()),
                    _ => {
                        let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
                        f.meta.list_objects(&query).await.map(|_| ())
                    }
                };
                match result {
                    Ok(()) | Err(Error::SourceChanged | Error::NoSuchKey { .. }) => {}
                    Err(error) => panic!("hand {hand}, step {step}: {error:?}"),
                }
            }
        }
    });
    all(hands).await;
    f.check().await;
    f.fold_all().await;
    f.check().await;
    for key in 0..3 {
        f.delete(&format!("key-{key}")).await;
    }
    f.fold_all().await;
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE state <> 'dead'").await, 0);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM data").await, 0);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM extents").await, 0);
}

/// An upload of a fresh part, a replaced one and a range of another object, completed or aborted.
async fn multipart(f: &Fixture, key: &str, source: &str, dice: u64) -> Result<()> {
    let upload = f.upload(key).await;
    f.meta.commit_part(&f.part(key, &upload, 1, &[9])).await?;
    f.meta.commit_part(&f.part(key, &upload, 1, &[8, 8])).await?;
    if let Ok(Resolved { object: Object { content: Content::Data(data), size, .. }, .. }) = f.resolve(source).await {
        let range = size / 3..size;
        let part = PartCommit { source: PartSource::Range { data, range }, ..f.part(key, &upload, 2, &[]) };
        match f.meta.commit_part(&part).await {
            Ok(_) | Err(Error::SourceChanged) => {}
            Err(error) => return Err(error),
        }
    }
    if dice.is_multiple_of(5) {
        return f.meta.abort_upload(BUCKET, key, &upload, NOW).await;
    }
    let parts = f.parts(key, &upload).await;
    let skip = usize::from(random_bytes::<1>()[0] & 1).min(parts.len() - 1);
    f.meta.complete_upload(&f.complete(key, &upload, parts[skip..].to_vec())).await.map(|_| ())
}

/// A bucket that kept versions once.
const SUSPENDED: &str = "suspended";
const BOTH: [&str; 2] = [BUCKET, SUSPENDED];

/// What many hands know together of the bucket that keeps versions: what was acknowledged and is not deleted, by key and version. A
/// delete marker has no ETag.
type Acknowledged = Mutex<BTreeMap<(String, String), Option<String>>>;

async fn all_versions(meta: &Metadata, bucket: &str) -> Vec<ListedVersion> {
    let query = ListQuery { bucket: bucket.into(), limit: 1_000_000, ..ListQuery::default() };
    let listed = meta.list_versions(&query, None).await.unwrap().entries;
    // The first of each key is the latest, and no other is; one at most is the null version.
    let mut keys = BTreeSet::new();
    let mut nulls = BTreeSet::new();
    for version in &listed {
        let key = &version.object.key;
        assert_eq!(version.latest, keys.insert(key.clone()), "{bucket}: {version:?} of {listed:#?}");
        assert!(!version.version.is_null() || nulls.insert(key), "{bucket}: two null versions of {key}: {listed:#?}");
    }
    listed
}

fn version_of(key: &str, version: Option<VersionId>) -> DeleteKey {
    DeleteKey { key: key.into(), version, ..DeleteKey::default() }
}

/// One of the hands: through a connection of its own it writes, large and small, copies, hides and deletes versions, moves what is
/// packed, folds and lists.
async fn handle_versions(f: &Fixture, meta: &Metadata, hand: u64, known: &Acknowledged, packs: &Mutex<Vec<ChunkId>>) {
    const STEPS: u64 = 50;
    let mut pack = Pack::new(f);
    packs.lock().unwrap().push(pack.id());
    let lease = f.lease("gc").await;
    let note = |key: &str, version: VersionId, etag: Option<String>| {
        assert!(!version.is_null());
        known.lock().unwrap().insert((key.to_owned(), version.as_str().to_owned()), etag);
    };
    for step in 0..STEPS {
        // Deterministic for each hand; what is left to chance is who comes first.
        let dice = xxhash_rust::xxh3::xxh3_64_with_seed(&step.to_le_bytes(), hand);
        let key = format!("key-{}", dice % 2);
        let bucket = BOTH[usize::from((dice / 2).is_multiple_of(4))];
        let kept = bucket == BUCKET;
        match dice / 8 % 11 {
            0 | 1 => {
                let commit = PutCommit { bucket: bucket.into(), ..f.put(&key, &[1 + dice % 50, 7]) };
                let version = meta.commit_put(&commit).await.unwrap().unwrap();
                if kept {
                    note(&key, version, Some(commit.object.etag));
                }
            }
            2 | 3 => {
                let extent = pack.extent(1 + dice % 900);
                let PackedWrite::Put { object, condition, .. } = packed_put(&key, None) else { continue };
                let etag = object.etag.clone();
                let write = PackedWrite::Put { bucket: bucket.into(), object, extent: Some(extent), condition };
                let done = meta.commit_packed(&pack.commit(vec![write])).await.unwrap().pop().unwrap();
                if kept {
                    note(&key, done.unwrap().unwrap(), Some(etag));
                }
            }
            4 => {
                // The other key's object, whichever it is by now.
                let Ok(source) = f.resolve(&format!("key-{}", dice / 2 % 2)).await else { continue };
                let Content::Data(data) = source.object.content else { continue };
                let Object { size, parts, .. } = source.object;
                let (batch, condition) = (batch(), WriteCondition::default());
                let object = object(&key);
                let commit = CopyCommit { batch, bucket: bucket.into(), object, data, size, parts, condition };
                match meta.commit_copy(&commit).await {
                    Ok(version) if kept => note(&key, version.unwrap(), Some(commit.object.etag)),
                    Ok(_) | Err(Error::SourceChanged) => {}
                    Err(error) => panic!("hand {hand}, step {step}: {error:?}"),
                }
            }
            5 => {
                // Twice in one request, with another key between.
                let other = format!("key-{}", (dice + 1) % 2);
                let keys = [version_of(&key, None), version_of(&other, None), version_of(&key, None)];
                for (key, hidden) in keys.iter().zip(meta.delete(bucket, &keys, "owner", NOW).await.unwrap()) {
                    let hidden = hidden.unwrap();
                    assert!(hidden.marker);
                    if kept {
                        note(&key.key, hidden.version.unwrap(), None);
                    }
                }
            }
            6 | 7 => {
                // The newest that is known as often as any: who is deleted last is to have been promoted meanwhile.
                let ((key, version), etag) = {
                    let mut known = known.lock().unwrap();
                    let at = if dice.is_multiple_of(3) {
                        known.len().saturating_sub(1)
                    } else {
                        dice as usize % known.len().max(1)
                    };
                    let Some(name) = known.keys().nth(at).cloned() else { continue };
                    let etag = known.remove(&name).unwrap();
                    (name, etag)
                };
                let version = VersionId::parse(&version).unwrap();
                // Were it deleted a second time, nothing would be found.
                let keys = [version_of(&key, Some(version.clone())), version_of(&key, Some(version.clone()))];
                let [first, second] = meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().try_into().unwrap();
                assert_eq!(first.unwrap(), Deleted { version: Some(version.clone()), marker: etag.is_none() });
                assert!(!second.unwrap().marker);
                let gone = meta.resolve(BUCKET, &key, Some(&version), ReadRange::Nothing).await;
                assert!(matches!(gone, Err(Error::NoSuchVersion { .. })), "{gone:?}");
            }
            8 => {
                let from = {
                    let packs = packs.lock().unwrap();
                    packs[dice as usize / 100 % packs.len()]
                };
                let entries = meta.packed_entries(from, 6).await.unwrap();
                let moves = entries.into_iter().map(|entry| {
                    let from = entry.placed.extent;
                    PackedWrite::Move { owner: entry.owner, from, to: pack.extent(from.len), modified: NOW }
                });
                let moves: Vec<_> = moves.collect();
                for moved in meta.commit_packed(&pack.commit(moves)).await.unwrap() {
                    assert!(matches!(moved, Ok(None) | Err(Error::SourceChanged)), "{moved:?}");
                }
            }
            9 => _ = meta.fold_released(&lease, 1 + (dice % 20) as u32).await.unwrap(),
            _ => _ = all_versions(meta, bucket).await,
        }
    }
}

async fn many_hands_lose_no_version_and_bring_none_back(f: &Arc<Fixture>) {
    const HANDS: u64 = 8;
    f.bucket(SUSPENDED).await;
    for bucket in BOTH {
        f.meta.change_bucket(bucket, &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
        f.meta.set_quota(&QuotaOf::Bucket(bucket.into()), QuotaLimits::default()).await.unwrap();
    }
    // Something of before, that nobody deletes.
    for key in ["key-0", "key-1"] {
        let commit = PutCommit { bucket: SUSPENDED.into(), ..f.put(key, &[3]) };
        f.meta.commit_put(&commit).await.unwrap();
    }
    f.meta.change_bucket(SUSPENDED, &BucketChange::Versioning(Versioning::Suspended)).await.unwrap();

    let (known, packs) = (Arc::new(Acknowledged::default()), Arc::new(Mutex::new(Vec::new())));
    // As two instances have it, on PostgreSQL; SQLite has one writer.
    let second = match f.raw {
        Raw::Postgres(_) => Metadata::connect(&f.config).await.unwrap(),
        Raw::Sqlite(_) => f.meta.clone(),
    };
    let hands = (0..HANDS).map(|hand| {
        let (f, known, packs) = (f.clone(), known.clone(), packs.clone());
        let meta = if hand % 2 == 0 { f.meta.clone() } else { second.clone() };
        async move { handle_versions(&f, &meta, hand, &known, &packs).await }
    });
    all(hands).await;
    f.check().await;
    f.fold_all().await;
    f.check().await;

    let known = std::mem::take(&mut *known.lock().unwrap());
    let mut listed = BTreeMap::new();
    for ListedVersion { version, marker, object, .. } in all_versions(&f.meta, BUCKET).await {
        let found = f.meta.resolve(BUCKET, &object.key, Some(&version), ReadRange::Whole).await;
        match found {
            Ok(found) => assert_eq!((found.object.etag, marker), (object.etag.clone(), false)),
            Err(error) => assert!(marker && matches!(error, Error::DeleteMarker { .. }), "{error:?}"),
        }
        listed.insert((object.key, version.as_str().to_owned()), Some(object.etag).filter(|_| !marker));
    }
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(listed, known);
    for key in ["key-0", "key-1"] {
        let all = all_versions(&f.meta, SUSPENDED).await;
        let of_key: Vec<_> = all.iter().filter(|listed| listed.object.key == key).collect();
        assert_eq!(of_key.len(), 2, "the null version and the one of before: {of_key:?}");
    }

    // All of them, by many at once: each deletion makes another the object, or none.
    let mut keys = Vec::new();
    for bucket in BOTH {
        for ListedVersion { version, object, .. } in all_versions(&f.meta, bucket).await {
            keys.push((bucket, version_of(&object.key, Some(version))));
        }
    }
    let deletions = (0..HANDS as usize).map(|hand| {
        let keys: Vec<_> = keys.iter().skip(hand).step_by(HANDS as usize).cloned().collect();
        let meta = if hand % 2 == 0 { f.meta.clone() } else { second.clone() };
        async move {
            for (bucket, key) in keys {
                meta.delete(bucket, &[key], "owner", NOW).await.unwrap().pop().unwrap().unwrap();
            }
        }
    });
    all(deletions).await;
    f.fold_all().await;
    for table in ["objects", "versions", "data", "extents", "released"] {
        assert_eq!(f.raw.int(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE live <> 0").await, 0);
    for bucket in BOTH {
        f.meta.delete_bucket(bucket, NOW).await.unwrap();
    }
}
