//! Transactions that meet. The first half holds one still at the point that matters (PostgreSQL; SQLite has one writer);
//! the second lets many loose on the same rows, on both databases, and recomputes every count afterwards.

use std::sync::Arc;
use std::time::Duration;

use ninefold::clock::random_bytes;
use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;
use crate::locks::*;

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
