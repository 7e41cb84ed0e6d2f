//! Quotas: exact for every way in which something comes, goes or grows, whoever does it at the same time.

use ninefold::clock::random_bytes;
use ninefold::layout::NewData;
use ninefold::metadata::*;

use crate::fixture::*;
use crate::packed::{Pack, put as packed_put};

on_both!(
    of_many_writers_as_many_are_let_in_as_there_is_room_for,
    bytes_are_counted_to_the_last,
    what_grows_nothing_is_always_possible,
    each_write_of_a_batch_is_judged_for_itself,
    versions_count_and_delete_markers_do_not,
    parts_count_from_when_they_are_uploaded,
    an_append_counts_what_it_adds,
    an_account_has_one_quota_for_all_its_buckets,
    a_quota_set_among_writers_is_exact,
    who_holds_several_quotas_waits_for_nobody_who_waits_for_him,
    counters_are_what_rows_say,
    what_does_not_fit_is_known_ahead,
    counters_that_are_wrong_are_found,
);

fn bucket() -> QuotaOf {
    QuotaOf::Bucket(BUCKET.into())
}

async fn limit(f: &Fixture, bytes: Option<u64>, objects: Option<u64>) {
    f.meta.set_quota(&bucket(), QuotaLimits { bytes, objects }).await.unwrap();
}

async fn used_of(f: &Fixture, of: &QuotaOf) -> (u64, u64) {
    let quotas = f.meta.quotas().await.unwrap();
    let used = quotas.into_iter().find(|quota| quota.of == *of).unwrap().used.unwrap();
    (used.bytes, used.objects)
}

async fn used(f: &Fixture) -> (u64, u64) {
    used_of(f, &bucket()).await
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> (QuotaOf, u64, &'static str) {
    match outcome {
        Err(Error::QuotaExceeded { of, max, what }) => (of, max, what),
        other => panic!("{other:?}"),
    }
}

/// Lets all be put at once; answers how many were.
async fn let_loose(f: &Fixture, commits: Vec<PutCommit>) -> usize {
    let results = all(commits.into_iter().map(|commit| {
        let meta = f.meta.clone();
        async move { meta.commit_put(&commit).await }
    }));
    let results = results.await;
    let done = results.iter().filter(|result| result.is_ok()).count();
    results.into_iter().filter(Result::is_err).for_each(|result| _ = refused(result));
    done
}

async fn of_many_writers_as_many_are_let_in_as_there_is_room_for(f: &Fixture) {
    f.commit("before", &[5]).await;
    limit(f, None, Some(11)).await;
    let commits = (0..32).map(|n| f.put(&format!("key-{n}"), &[3])).collect();
    assert_eq!(let_loose(f, commits).await, 10);
    assert_eq!(used(f).await, (35, 11));
    let answer = refused(f.meta.commit_put(&f.put("late", &[])).await);
    assert_eq!(answer, (bucket(), 11, "objects"));
    // What is given back may be taken again, once.
    f.delete("before").await;
    f.delete("never there").await;
    let commits = (0..8).map(|n| f.put(&format!("more-{n}"), &[1])).collect();
    assert_eq!(let_loose(f, commits).await, 1);
    assert!(f.meta.remove_quota(&bucket()).await.unwrap());
    assert!(!f.meta.remove_quota(&bucket()).await.unwrap());
    f.commit("late", &[1]).await;
    let nobody = QuotaOf::Bucket("nobody".into());
    assert!(matches!(f.meta.set_quota(&nobody, QuotaLimits::default()).await, Err(Error::NoSuchBucket(_))));
    let nobody = QuotaOf::Account("nobody".into());
    assert!(matches!(f.meta.set_quota(&nobody, QuotaLimits::default()).await, Err(Error::NoSuchIdentity { .. })));
}

async fn bytes_are_counted_to_the_last(f: &Fixture) {
    limit(f, Some(1000), None).await;
    let commits = (0..32).map(|n| f.put(&format!("key-{n}"), &[60, 40])).collect();
    assert_eq!(let_loose(f, commits).await, 10);
    assert_eq!(used(f).await, (1000, 10));
    f.commit("empty", &[]).await;
    assert_eq!(refused(f.meta.commit_put(&f.put("one", &[1])).await), (bucket(), 1000, "bytes"));
}

async fn what_grows_nothing_is_always_possible(f: &Fixture) {
    for (key, len) in [("a", 50), ("b", 30), ("c", 20)] {
        f.commit(key, &[len]).await;
    }
    limit(f, Some(10), Some(1)).await;
    f.commit("a", &[50]).await;
    f.commit("a", &[40]).await;
    f.meta.commit_copy(&f.copy("a", "a").await).await.unwrap();
    refused(f.meta.commit_copy(&f.copy("a", "b").await).await);
    refused(f.meta.commit_copy(&f.copy("c", "d").await).await);
    f.meta.commit_copy(&f.copy("c", "b").await).await.unwrap();
    assert_eq!(used(f).await, (80, 3));
    let rename = |from: &str, to: &str| RenameCommit {
        batch: batch(),
        rename: Rename {
            bucket: BUCKET.into(),
            from: from.into(),
            to: to.into(),
            source: RenameCondition::default(),
            destination: RenameCondition::default(),
            token: None,
        },
        now: NOW,
    };
    f.meta.rename(&rename("a", "e")).await.unwrap();
    assert_eq!(used(f).await, (80, 3));
    f.meta.rename(&rename("e", "b")).await.unwrap();
    assert_eq!(used(f).await, (60, 2));
    f.delete("b").await;
    f.delete("c").await;
    assert_eq!(used(f).await, (0, 0));
    f.commit("a", &[10]).await;
}

async fn each_write_of_a_batch_is_judged_for_itself(f: &Fixture) {
    f.bucket("free").await;
    f.commit("there", &[40]).await;
    limit(f, Some(100), Some(3)).await;
    let mut pack = Pack::new(f);
    let mut write = |key: &str, len| packed_put(key, Some(pack.extent(len)));
    let mut writes =
        vec![write("a", 50), write("big", 11), write("there", 30), write("b", 20), write("c", 0), write("free", 5000)];
    // Empty: it would fit by its bytes.
    writes[4] = packed_put("c", None);
    if let PackedWrite::Put { bucket, .. } = &mut writes[5] {
        *bucket = "free".into();
    }
    let results = f.meta.commit_packed(&pack.commit(writes)).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true, false, true]);
    assert_eq!(refused(results[1].clone()).2, "bytes");
    assert_eq!(refused(results[4].clone()).2, "objects");
    assert_eq!(used(f).await, (100, 3));
    assert!(matches!(f.resolve("big").await, Err(Error::NoSuchKey { .. })));
    assert_eq!(f.resolve("there").await.unwrap().object.size, 30);
    f.check().await;

    // Batches at the same time, as lanes and servers have them.
    limit(f, None, Some(20)).await;
    let commits: Vec<_> = (0..8)
        .map(|n| {
            let mut pack = Pack::new(f);
            let writes = (0..5).map(|m| packed_put(&format!("{n}-{m}"), Some(pack.extent(7)))).collect();
            pack.commit(writes)
        })
        .collect();
    let results = all(commits.into_iter().map(|commit| {
        let meta = f.meta.clone();
        async move { meta.commit_packed(&commit).await.unwrap() }
    }));
    let done = results.await.iter().flatten().filter(|result| result.is_ok()).count();
    assert_eq!((done, used(f).await), (17, (219, 20)));
}

async fn versions_count_and_delete_markers_do_not(f: &Fixture) {
    let set = async |versioning| f.meta.change_bucket(BUCKET, &BucketChange::Versioning(versioning)).await.unwrap();
    f.commit("key", &[5]).await;
    set(Versioning::Enabled).await;
    limit(f, None, Some(3)).await;
    let second = f.meta.commit_put(&f.put("key", &[7])).await.unwrap().unwrap();
    f.delete("key").await;
    assert_eq!(used(f).await, (12, 2));
    f.commit("key", &[1]).await;
    refused(f.meta.commit_put(&f.put("key", &[1])).await);
    f.delete("key").await;
    let gone = [DeleteKey { key: "key".into(), version: Some(second), ..DeleteKey::default() }];
    f.meta.delete(BUCKET, &gone, "owner", NOW).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(used(f).await, (6, 2));
    // There is one null version: a new one takes its place, be it an object's or a marker's.
    set(Versioning::Suspended).await;
    f.commit("key", &[9]).await;
    assert_eq!(used(f).await, (10, 2));
    f.delete("key").await;
    assert_eq!(used(f).await, (1, 1));
    f.delete("key").await;
    f.commit("key", &[2]).await;
    assert_eq!(used(f).await, (3, 2));
}

async fn parts_count_from_when_they_are_uploaded(f: &Fixture) {
    limit(f, Some(100), Some(1)).await;
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[60])).await.unwrap();
    f.meta.commit_part(&f.part("key", &upload, 2, &[40])).await.unwrap();
    refused(f.meta.commit_part(&f.part("key", &upload, 3, &[1])).await);
    refused(f.meta.commit_part(&f.part("key", &upload, 2, &[41])).await);
    f.meta.commit_part(&f.part("key", &upload, 2, &[30])).await.unwrap();
    assert_eq!(used(f).await, (90, 0));
    // In a batch, too.
    let mut pack = Pack::new(f);
    let mut packed = |number, len| {
        let data = NewData { len, chunks: vec![], extents: vec![pack.extent(len)] };
        PackedWrite::Part(PartCommit { source: PartSource::New(data), ..f.part("key", &upload, number, &[]) })
    };
    let writes = vec![packed(3, 11), packed(2, 39), packed(4, 2)];
    let results = f.meta.commit_packed(&pack.commit(writes)).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    let mut parts = f.parts("key", &upload).await;
    f.meta.commit_part(&f.part("key", &upload, 9, &[1])).await.unwrap();
    f.commit("full", &[]).await;
    refused(f.meta.complete_upload(&f.complete("key", &upload, parts.clone())).await);
    f.delete("full").await;
    // However little there is room for, parts become an object.
    limit(f, Some(0), Some(1)).await;
    parts.pop();
    f.meta.complete_upload(&f.complete("key", &upload, parts)).await.unwrap();
    assert_eq!(used(f).await, (60, 1));

    limit(f, None, None).await;
    let (aborted, expired) = (f.upload("key").await, f.upload("key").await);
    for upload in [&aborted, &expired] {
        f.meta.commit_part(&f.part("key", upload, 1, &[10, 10])).await.unwrap();
    }
    f.meta.abort_upload(BUCKET, "key", &aborted, NOW).await.unwrap();
    assert_eq!(used(f).await, (80, 1));
    let lease = f.lease("expiry").await;
    assert_eq!(f.meta.expire_uploads(&lease, NOW + 1, NOW, 10).await.unwrap(), 1);
    assert_eq!(used(f).await, (60, 1));
}

/// An append to what a key holds.
async fn append(f: &Fixture, key: &str, len: u64) -> Result<AppendCommit> {
    let object = f.resolve(key).await?.object;
    let base = AppendBase {
        etag: object.etag,
        size: object.size,
        owner: object.owner,
        checksum: object.checksum,
        parts: object.parts,
    };
    Ok(AppendCommit {
        batch: batch(),
        bucket: BUCKET.into(),
        key: key.into(),
        base,
        copy: None,
        data: f.data(&[len]),
        part_checksum: None,
        etag: crate::fixture::object(key).etag,
        checksum: None,
        modified: NOW,
        condition: WriteCondition::default(),
    })
}

async fn an_append_counts_what_it_adds(f: &Fixture) {
    f.commit("key", &[10]).await;
    f.commit("gone", &[10]).await;
    limit(f, Some(50), None).await;
    f.meta.commit_append(&append(f, "key", 20).await.unwrap()).await.unwrap();
    assert_eq!(used(f).await, (40, 2));
    refused(f.meta.commit_append(&append(f, "key", 11).await.unwrap()).await);
    // One that fails takes no room from the next of its batch.
    let mut pack = Pack::new(f);
    let mut late = append(f, "gone", 0).await.unwrap();
    f.commit("gone", &[10]).await;
    late.data = NewData { len: 10, chunks: vec![], extents: vec![pack.extent(10)] };
    let mut next = append(f, "key", 0).await.unwrap();
    next.data = NewData { len: 10, chunks: vec![], extents: vec![pack.extent(10)] };
    let writes = vec![
        PackedWrite::Append(late.into()),
        PackedWrite::Append(next.into()),
        packed_put("more", Some(pack.extent(1))),
    ];
    let mut results = f.meta.commit_packed(&pack.commit(writes)).await.unwrap().into_iter();
    assert!(matches!(results.next(), Some(Err(Error::SourceChanged))));
    results.next().unwrap().unwrap();
    refused(results.next().unwrap());
    assert_eq!(used(f).await, (50, 2));
}

fn acme() -> AccountRow {
    AccountRow {
        id: "123456789012".into(),
        canonical_id: "ac".repeat(32),
        name: "acme".into(),
        email: None,
        public_access_block: "{}".into(),
        own: false,
        created: NOW,
    }
}

async fn bucket_of_acme(f: &Fixture, name: &str) {
    let new = NewBucket {
        name: name.into(),
        region: "us-east-1".into(),
        owner: acme().canonical_id,
        lock: false,
        configs: Vec::new(),
        created: NOW,
    };
    f.meta.create_bucket(&new).await.unwrap();
}

fn put_into(f: &Fixture, bucket: &str, key: &str, len: u64) -> PutCommit {
    PutCommit { bucket: bucket.into(), ..f.put(key, &[len]) }
}

async fn an_account_has_one_quota_for_all_its_buckets(f: &Fixture) {
    f.meta.create_account(&acme(), None, "").await.unwrap();
    let of = QuotaOf::Account(acme().canonical_id);
    bucket_of_acme(f, "first").await;
    f.meta.commit_put(&put_into(f, "first", "key", 10)).await.unwrap();
    f.meta.set_quota(&of, QuotaLimits { bytes: Some(1000), objects: Some(12) }).await.unwrap();
    // Made later, with a quota of its own besides.
    bucket_of_acme(f, "second").await;
    let second = QuotaOf::Bucket("second".into());
    f.meta.set_quota(&second, QuotaLimits { bytes: None, objects: Some(4) }).await.unwrap();
    let commits = (0..32).map(|n| put_into(f, ["first", "second"][n % 2], &format!("key-{n}"), 10)).collect();
    assert_eq!(let_loose(f, commits).await, 11);
    assert_eq!(used_of(f, &of).await, (120, 12));
    assert!(used_of(f, &second).await.1 <= 4);
    f.commit("of another account", &[5000]).await;
    assert_eq!(refused(f.meta.commit_put(&put_into(f, "first", "more", 1)).await).0, of);
    f.check().await;

    // A bucket that goes gives back what was on its way into it.
    f.meta.set_quota(&of, QuotaLimits { bytes: Some(1000), objects: None }).await.unwrap();
    bucket_of_acme(f, "third").await;
    f.meta.set_quota(&QuotaOf::Bucket("third".into()), QuotaLimits::default()).await.unwrap();
    let upload = NewUpload { bucket: "third".into(), ..new_upload("key", NOW) };
    f.meta.create_upload(&upload).await.unwrap();
    let part = PartCommit { bucket: "third".into(), ..f.part("key", &upload.id, 1, &[100]) };
    f.meta.commit_part(&part).await.unwrap();
    assert_eq!(used_of(f, &of).await, (220, 12));
    f.meta.delete_bucket("third", NOW).await.unwrap();
    assert_eq!(used_of(f, &of).await, (120, 12));
    assert_eq!(f.meta.quotas().await.unwrap().len(), 2);
    f.check().await;

    assert!(f.meta.remove_quota(&of).await.unwrap());
    f.meta.commit_put(&put_into(f, "first", "more", 5000)).await.unwrap();
    f.meta.set_quota(&of, QuotaLimits::default()).await.unwrap();
    assert_eq!(used_of(f, &of).await, (5120, 13));
}

async fn a_quota_set_among_writers_is_exact(f: &Fixture) {
    let writers: Vec<_> = (0..4)
        .map(|hand| {
            let meta = f.meta.clone();
            let commits: Vec<_> = (0..30).map(|n| f.put(&format!("key-{}", (hand + n * 7) % 11), &[1 + n])).collect();
            tokio::spawn(async move {
                for commit in commits {
                    meta.commit_put(&commit).await.unwrap();
                    let keys = [DeleteKey { key: commit.object.key, ..DeleteKey::default() }];
                    if commit.data.len % 3 == 0 {
                        meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for n in 0..8 {
        // Two that set it at once count it once.
        let (meta, again) = (f.meta.clone(), f.meta.clone());
        let limits = QuotaLimits { bytes: Some(1_000_000 + n), objects: None };
        for set in all([meta, again].map(|meta| async move { meta.set_quota(&bucket(), limits).await })).await {
            set.unwrap();
        }
        f.check().await;
        if n % 2 == 0 {
            f.meta.remove_quota(&bucket()).await.unwrap();
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    f.check().await;
}

/// Batches, puts, parts and deletions in two buckets of an account, whose quotas come and go: locks are taken in one order.
async fn who_holds_several_quotas_waits_for_nobody_who_waits_for_him(f: &Fixture) {
    f.meta.create_account(&acme(), None, "").await.unwrap();
    let account = QuotaOf::Account(acme().canonical_id);
    // The second bucket's quota is older than the first's.
    let names = ["first", "second"];
    for name in names {
        bucket_of_acme(f, name).await;
    }
    for of in [QuotaOf::Bucket("second".into()), account.clone(), QuotaOf::Bucket("first".into())] {
        f.meta.set_quota(&of, QuotaLimits::default()).await.unwrap();
    }
    let limits = QuotaLimits { bytes: Some(1 << 40), objects: Some(8) };
    f.meta.set_quota(&account, limits).await.unwrap();
    let mut hands = Vec::new();
    for hand in 0..6 {
        let mut steps: Vec<Boxed<'static, ()>> = Vec::new();
        for step in 0..15 {
            let (meta, name, key) =
                (f.meta.clone(), names[(hand + step) % 2], format!("key-{}", (hand * 3 + step) % 7));
            let put = put_into(f, name, &key, 10);
            let mut pack = Pack::new(f);
            let mut writes: Vec<_> = (0..4).map(|n| packed_put(&format!("key-{n}"), Some(pack.extent(9)))).collect();
            for (n, write) in writes.iter_mut().enumerate() {
                let PackedWrite::Put { bucket, .. } = write else { continue };
                *bucket = names[n % 2].into();
            }
            let batch = pack.commit(writes);
            let upload = NewUpload { bucket: name.into(), ..new_upload(&key, NOW) };
            let part = PartCommit { bucket: name.into(), ..f.part(&key, &upload.id, 1, &[5]) };
            let account = account.clone();
            let allowed = |outcome: Result<()>| match outcome {
                Ok(()) | Err(Error::QuotaExceeded { .. }) => {}
                Err(error) => panic!("{error:?}"),
            };
            steps.push(Box::pin(async move {
                match (hand + step) % 5 {
                    0 => allowed(meta.commit_put(&put).await.map(|_| ())),
                    1 => meta.commit_packed(&batch).await.unwrap().into_iter().for_each(|one| allowed(one.map(|_| ()))),
                    2 => {
                        meta.create_upload(&upload).await.unwrap();
                        allowed(meta.commit_part(&part).await.map(|_| ()));
                        meta.abort_upload(name, &key, &upload.id, NOW).await.unwrap();
                    }
                    3 => {
                        let keys = (0..7).map(|n| DeleteKey { key: format!("key-{n}"), ..DeleteKey::default() });
                        meta.delete(name, &keys.collect::<Vec<_>>(), "owner", NOW).await.unwrap();
                    }
                    _ if step % 2 == 0 => _ = meta.remove_quota(&account).await.unwrap(),
                    _ => meta.set_quota(&account, limits).await.unwrap(),
                }
            }));
        }
        hands.push(async move {
            for step in steps {
                step.await;
            }
        });
    }
    all(hands).await;
    f.meta.set_quota(&account, QuotaLimits::default()).await.unwrap();
    f.check().await;
    if let Raw::Postgres(_) = f.raw {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(f.raw.int(deadlocks).await, 0);
    }
}

/// Whatever is done, and whatever of it is refused: the fixture recounts the rows.
async fn counters_are_what_rows_say(f: &Fixture) {
    f.meta.create_account(&acme(), None, "").await.unwrap();
    let account = QuotaOf::Account(acme().canonical_id);
    limit(f, Some(900), Some(9)).await;
    f.meta.set_quota(&account, QuotaLimits { bytes: Some(300), objects: Some(5) }).await.unwrap();
    bucket_of_acme(f, "theirs").await;
    let (mut uploads, mut over) = (Vec::new(), 0);
    for step in 0..200 {
        let [dice, which, choice, more, ..] = random_bytes::<8>();
        let name = if more % 3 == 0 { "theirs" } else { BUCKET };
        let (key, len) = (format!("key-{}", which % 6), u64::from(choice));
        let to = format!("key-{}", choice % 6);
        let outcome: Result<()> = match dice % 12 {
            0..=2 => f.meta.commit_put(&put_into(f, name, &key, len + 1)).await.map(|_| ()),
            3 => {
                let mut pack = Pack::new(f);
                let mut writes: Vec<_> = (0..3u8)
                    .map(|n| packed_put(&format!("key-{}", n + which % 3), Some(pack.extent(len + 1))))
                    .collect();
                if let Some(PackedWrite::Put { bucket, .. }) = writes.last_mut() {
                    *bucket = "theirs".into();
                }
                let results = f.meta.commit_packed(&pack.commit(writes)).await.unwrap();
                results.into_iter().try_for_each(|result| result.map(|_| ()))
            }
            4 => match append(f, &key, len + 1).await {
                Ok(commit) => f.meta.commit_append(&commit).await,
                Err(error) => Err(error),
            },
            5 => {
                let (from, to) = (key.clone(), to.clone());
                let (source, destination) = (RenameCondition::default(), RenameCondition::default());
                let rename = Rename { bucket: BUCKET.into(), from, to, source, destination, token: None };
                f.meta.rename(&RenameCommit { batch: batch(), rename, now: NOW }).await.map(|_| ())
            }
            6 | 7 => {
                let keys = [&key, &to].map(|key| DeleteKey { key: key.clone(), ..DeleteKey::default() });
                f.meta.delete(name, &keys, "owner", NOW).await.map(|_| ())
            }
            8 | 9 => {
                let upload = NewUpload { bucket: name.into(), ..new_upload(&key, NOW) };
                f.meta.create_upload(&upload).await.unwrap();
                let id = upload.id;
                uploads.push((name, key.clone(), id.clone()));
                let part = PartCommit { bucket: name.into(), ..f.part(&key, &id, 1 + u32::from(more % 2), &[len + 1]) };
                f.meta.commit_part(&part).await.map(|_| ())
            }
            10 => match uploads.pop() {
                Some((name, key, id)) => {
                    let query = PartQuery { after: 0, limit: 10 };
                    let parts = f.meta.parts(name, &key, &id, query).await.unwrap();
                    let commit = CompleteCommit { bucket: name.into(), ..f.complete(&key, &id, parts) };
                    match f.meta.complete_upload(&commit).await {
                        Err(error @ Error::QuotaExceeded { .. }) => {
                            f.meta.abort_upload(name, &key, &id, NOW).await.unwrap();
                            Err(error)
                        }
                        other => other.map(|_| ()),
                    }
                }
                None => Ok(()),
            },
            _ => match f.resolve(&key).await {
                Ok(Resolved { object: Object { content: Content::Data(_), .. }, .. }) => {
                    f.meta.commit_copy(&f.copy(&key, &to).await).await.map(|_| ())
                }
                _ => Ok(()),
            },
        };
        match outcome {
            Ok(())
            | Err(Error::NoSuchKey { .. } | Error::DataShared | Error::SourceChanged | Error::KeepsVersions(_)) => {}
            Err(Error::QuotaExceeded { .. }) => over += 1,
            Err(error) => panic!("step {step}: {error:?}"),
        }
        if step % 10 == 0 {
            f.check().await;
        }
        if step == 120 {
            f.meta.change_bucket("theirs", &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
        }
    }
    assert!(over > 0);
    let (bytes, objects) = used_of(f, &account).await;
    assert!(bytes <= 300 && objects <= 5, "{bytes} {objects}");
}

async fn what_does_not_fit_is_known_ahead(f: &Fixture) {
    f.commit("there", &[60]).await;
    f.meta.check_room(BUCKET, Coming::Object("new"), u64::MAX).await.unwrap();
    limit(f, Some(100), Some(2)).await;
    f.meta.check_room(BUCKET, Coming::Object("new"), 40).await.unwrap();
    f.meta.check_room(BUCKET, Coming::Object("there"), 100).await.unwrap();
    f.meta.check_room(BUCKET, Coming::Append, 40).await.unwrap();
    refused(f.meta.check_room(BUCKET, Coming::Append, 41).await);
    refused(f.meta.check_room(BUCKET, Coming::Object("new"), 41).await);
    refused(f.meta.check_room(BUCKET, Coming::Object("there"), 101).await);
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[30])).await.unwrap();
    f.meta.check_room(BUCKET, Coming::Part(&upload, 1), 40).await.unwrap();
    refused(f.meta.check_room(BUCKET, Coming::Part(&upload, 2), 11).await);
}

async fn counters_that_are_wrong_are_found(f: &Fixture) {
    f.commit("key", &[60]).await;
    limit(f, Some(100), None).await;
    assert_eq!(f.meta.check_quotas().await.unwrap(), []);
    f.raw.execute("UPDATE quotas SET bytes = 59").await;
    f.raw.execute("UPDATE buckets SET bucket_quota = NULL").await;
    let found: Vec<_> = f.meta.check_quotas().await.unwrap().into_iter().map(|found| found.what).collect();
    assert_eq!(found, ["quota that does not say what is there", "bucket that does not name its quotas"]);
    f.raw.execute("UPDATE quotas SET bytes = 60").await;
    f.raw.execute("UPDATE buckets SET bucket_quota = (SELECT quota_id FROM quotas)").await;
}
