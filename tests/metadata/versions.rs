//! Versions, delete markers and locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ninefold::clock::random_bytes;
use ninefold::metadata::*;

use crate::fixture::*;
use crate::packed::{Pack, put};

on_both!(
    histories_are_as_a_model_says,
    versions_of_one_key_page_by_page,
    batches_keep_versions,
    compaction_finds_what_became_a_version,
    locks_hold_until_they_are_over,
    a_bucket_that_locks_keeps_its_versions,
    writers_of_one_key_make_as_many_versions,
    a_page_has_what_becomes_the_object_meanwhile,
    a_change_of_versioning_waits_for_writes,
    what_cannot_be_is_found,
);

async fn set(f: &Fixture, versioning: Versioning) {
    f.meta.change_bucket(BUCKET, &BucketChange::Versioning(versioning)).await.unwrap();
}

async fn put_one(f: &Fixture, key: &str, len: u64) -> (VersionId, String) {
    let commit = f.put(key, &[len]);
    let version = f.meta.commit_put(&commit).await.unwrap().unwrap();
    (version, commit.object.etag)
}

async fn delete_one(f: &Fixture, key: &str, version: Option<&VersionId>) -> Result<Deleted> {
    let keys = [DeleteKey { key: key.into(), version: version.cloned(), ..DeleteKey::default() }];
    f.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap()
}

async fn versions(f: &Fixture, prefix: &str) -> Vec<ListedVersion> {
    let query = ListQuery { bucket: BUCKET.into(), prefix: prefix.into(), limit: 1000, ..ListQuery::default() };
    f.meta.list_versions(&query, None).await.unwrap().entries
}

/// A version as the model has it: the newest last; without an ETag a delete marker.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    version: VersionId,
    etag: Option<String>,
}

/// What S3 says of versions, over lists.
#[derive(Default)]
struct Model {
    versioning: Option<Versioning>,
    keys: BTreeMap<String, Vec<Known>>,
}

impl Model {
    fn write(&mut self, key: &str, version: Option<VersionId>, etag: Option<String>) {
        let all = self.keys.entry(key.into()).or_default();
        match self.versioning {
            Some(Versioning::Enabled) => {}
            Some(_) => all.retain(|known| !known.version.is_null()),
            None => all.clear(),
        }
        if self.versioning.is_some() || etag.is_some() {
            all.push(Known { version: version.unwrap_or_else(VersionId::null), etag });
        }
    }

    fn listed(&self) -> Vec<(String, VersionId, bool, Option<String>)> {
        let mut listed = Vec::new();
        for (key, all) in &self.keys {
            for (age, known) in all.iter().rev().enumerate() {
                listed.push((key.clone(), known.version.clone(), age == 0, known.etag.clone()));
            }
        }
        listed
    }
}

/// Random histories; after each step the whole is what the model says, and in the end nothing is left over.
async fn histories_are_as_a_model_says(f: &Fixture) {
    let mut model = Model::default();
    f.meta.set_quota(&QuotaOf::Bucket(BUCKET.into()), QuotaLimits::default()).await.unwrap();
    let keys = ["a", "a/b", "a/c", "a!", "b"];
    for step in 0..250 {
        let [dice, which, choice, ..] = random_bytes::<8>();
        let key = keys[usize::from(which) % keys.len()];
        let known: Vec<Known> = model.keys.get(key).cloned().unwrap_or_default();
        match (dice % 20, known.get(usize::from(choice) % known.len().max(1))) {
            (0, _) if step > 20 => {
                let versioning = if choice % 3 > 0 { Versioning::Enabled } else { Versioning::Suspended };
                set(f, versioning).await;
                model.versioning = Some(versioning);
            }
            (1..=6, _) => {
                let commit = f.put(key, &[u64::from(choice) + 1]);
                let version = f.meta.commit_put(&commit).await.unwrap();
                assert_eq!(version.is_some(), model.versioning.is_some());
                model.write(key, version, Some(commit.object.etag));
            }
            (7..=8, _) => {
                let mut pack = Pack::new(f);
                let extent = pack.extent(u64::from(choice) + 1);
                let write = put(key, (choice % 7 > 0).then_some(extent));
                let PackedWrite::Put { object, .. } = &write else { continue };
                let etag = object.etag.clone();
                let version = f.meta.commit_packed(&pack.commit(vec![write])).await.unwrap().pop().unwrap().unwrap();
                model.write(key, version, Some(etag));
            }
            (9..=12, _) => {
                let deleted = delete_one(f, key, None).await.unwrap();
                assert_eq!(deleted.marker, model.versioning.is_some());
                model.write(key, deleted.version, None);
            }
            (_, Some(known)) => {
                let deleted = delete_one(f, key, Some(&known.version)).await.unwrap();
                let expected = Deleted { version: Some(known.version.clone()), marker: known.etag.is_none() };
                assert_eq!(deleted, expected);
                model.keys.get_mut(key).unwrap().retain(|other| other != known);
            }
            (_, None) => {
                let gone = VersionId::parse("0000000000000001ffffffffffffffff").unwrap();
                assert!(!delete_one(f, key, Some(&gone)).await.unwrap().marker);
            }
        }
        model.keys.retain(|_, all| !all.is_empty());

        let listed = versions(f, "").await.into_iter().map(|listed| {
            let etag = Some(listed.object.etag).filter(|_| !listed.marker);
            (listed.object.key, listed.version, listed.latest, etag)
        });
        assert_eq!(listed.collect::<Vec<_>>(), model.listed(), "after step {step}");
        for key in keys {
            let all = model.keys.get(key).cloned().unwrap_or_default();
            let found = f.resolve(key).await;
            match (all.last(), found) {
                (Some(Known { etag: Some(etag), version }), Ok(found)) => {
                    assert_eq!(found.object.etag, *etag);
                    assert_eq!(found.version, model.versioning.map(|_| version.clone()));
                }
                (Some(Known { etag: None, version }), Err(Error::DeleteMarker { version: found, named, .. })) => {
                    assert_eq!((found, named), (version.clone(), false));
                }
                (None, Err(Error::NoSuchKey { .. })) => {}
                (known, found) => panic!("{key} is {known:?}, but {found:?}"),
            }
            for known in &all {
                let found = f.meta.resolve(BUCKET, key, Some(&known.version), ReadRange::Whole).await;
                match &known.etag {
                    Some(etag) => {
                        let found = found.unwrap();
                        assert_eq!((&found.object.etag, found.version), (etag, Some(known.version.clone())));
                    }
                    None => assert!(matches!(found, Err(Error::DeleteMarker { named: true, .. })), "{found:?}"),
                }
            }
        }
        if step % 50 == 0 {
            f.check().await;
        }
    }
    // Pages of every size, with and without a delimiter, are the same list.
    set(f, Versioning::Enabled).await;
    let whole = versions(f, "").await;
    for limit in 1..=4 {
        for delimiter in ["", "/", "b", "!"] {
            let query = ListQuery { bucket: BUCKET.into(), delimiter: delimiter.into(), ..ListQuery::default() };
            let mut expected: Vec<(String, Option<VersionId>)> = Vec::new();
            for listed in &whole {
                let key = &listed.object.key;
                let at = Some(delimiter).filter(|d| !d.is_empty()).and_then(|d| key.find(d));
                let shown = match at {
                    Some(at) => (key[..at + delimiter.len()].to_owned(), None),
                    None => (key.clone(), Some(listed.version.clone())),
                };
                if expected.last() != Some(&shown) {
                    expected.push(shown);
                }
            }
            let (mut seen, mut query, mut after) = (Vec::new(), ListQuery { limit, ..query }, None);
            loop {
                let page = f.meta.list_versions(&query, after.as_ref()).await.unwrap();
                assert!(page.entries.len() + page.common_prefixes.len() <= limit as usize);
                let mut both: Vec<(String, Option<VersionId>)> =
                    page.entries.into_iter().map(|e| (e.object.key, Some(e.version))).collect();
                both.extend(page.common_prefixes.into_iter().map(|prefix| (prefix, None)));
                both.sort_by(|a, b| a.0.cmp(&b.0));
                seen.extend(both);
                let Some(next) = page.next else { break };
                after = page.next_of_key.as_deref().and_then(VersionId::parse);
                query.after = next;
            }
            assert_eq!(seen, expected, "delimiter {delimiter:?}, {limit} at once");
        }
    }
    for listed in whole {
        delete_one(f, &listed.object.key, Some(&listed.version)).await.unwrap();
    }
    assert_eq!(versions(f, "").await, []);
    f.fold_all().await;
    for table in ["objects", "versions", "data"] {
        assert_eq!(f.raw.int(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    let living = "SELECT COUNT(*) FROM chunks WHERE state <> 'dead' AND packed = 0";
    assert_eq!(f.raw.int(living).await, 0);
    f.meta.delete_bucket(BUCKET, NOW).await.unwrap();
    f.bucket(BUCKET).await;
}

async fn versions_of_one_key_page_by_page(f: &Fixture) {
    put_null(f, "k").await;
    set(f, Versioning::Enabled).await;
    let mut made = vec![VersionId::null()];
    for _ in 0..9 {
        made.push(put_one(f, "k", 1).await.0);
    }
    made.reverse();
    // What is listed is deleted at once, as who empties a bucket does: nothing is skipped.
    let mut query = ListQuery { bucket: BUCKET.into(), limit: 3, ..ListQuery::default() };
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = f.meta.list_versions(&query, after.as_ref()).await.unwrap();
        for listed in &page.entries {
            delete_one(f, "k", Some(&listed.version)).await.unwrap();
            seen.push(listed.version.clone());
        }
        let Some(next) = page.next else { break };
        after = page.next_of_key.as_deref().and_then(VersionId::parse);
        query.after = next;
    }
    assert_eq!(seen, made);

    // A null version that is gone is a marker whose place nobody knows.
    let (older, _) = put_one(f, "n", 1).await;
    let query = ListQuery { bucket: BUCKET.into(), after: "n".into(), limit: 10, ..ListQuery::default() };
    let page = f.meta.list_versions(&query, Some(&VersionId::null())).await.unwrap();
    assert_eq!(page.entries.iter().map(|listed| &listed.version).collect::<Vec<_>>(), [&older]);
    // Zero bytes delimit nothing, and begin nothing.
    for (prefix, delimiter, found) in [("", "\0", 1), ("n\0", "", 0), ("n\0", "/", 0)] {
        let query = ListQuery {
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            delimiter: delimiter.into(),
            limit: 10,
            ..ListQuery::default()
        };
        let page = f.meta.list_versions(&query, None).await.unwrap();
        assert_eq!((page.entries.len(), page.common_prefixes.len()), (found, 0), "{prefix:?} {delimiter:?}");
    }
}

/// Writes where no versions are kept.
async fn put_null(f: &Fixture, key: &str) {
    assert_eq!(f.meta.commit_put(&f.put(key, &[1])).await.unwrap(), None);
}

async fn batches_keep_versions(f: &Fixture) {
    let mut pack = Pack::new(f);
    let first: Vec<_> = ["a", "b", "c"].map(|key| put(key, Some(pack.extent(10)))).into();
    for result in f.meta.commit_packed(&pack.commit(first)).await.unwrap() {
        assert_eq!(result.unwrap(), None);
    }
    set(f, Versioning::Enabled).await;
    let second: Vec<_> = ["a", "b"].map(|key| put(key, Some(pack.extent(20)))).into();
    for result in f.meta.commit_packed(&pack.commit(second)).await.unwrap() {
        assert!(!result.unwrap().unwrap().is_null());
    }
    assert_eq!(versions(f, "").await.len(), 5);
    // A large object over packed ones, and packed ones over it.
    put_one(f, "a", 1 << 20).await;
    set(f, Versioning::Suspended).await;
    let third = vec![put("a", None), put("b", Some(pack.extent(30)))];
    for result in f.meta.commit_packed(&pack.commit(third)).await.unwrap() {
        assert_eq!(result.unwrap(), Some(VersionId::null()));
    }
    // The null versions of the beginning are gone; what had a name is not.
    let left: Vec<_> = versions(f, "").await.into_iter().map(|v| (v.object.key, v.object.size)).collect();
    let expected = [("a", 0), ("a", 1 << 20), ("a", 20), ("b", 30), ("b", 20), ("c", 10)];
    assert_eq!(left, expected.map(|(key, size)| (key.to_owned(), size)));
    f.fold_all().await;
    f.check().await;
}

async fn compaction_finds_what_became_a_version(f: &Fixture) {
    set(f, Versioning::Enabled).await;
    let mut pack = Pack::new(f);
    let extent = pack.extent(10);
    let version = f
        .meta
        .commit_packed(&pack.commit(vec![put("k", Some(extent))]))
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap()
        .unwrap();
    let entries = f.meta.packed_entries(extent.chunk, 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    // Between reading and switching it becomes a version.
    put_one(f, "k", 5).await;
    let mut other = Pack::new(f);
    let to = other.extent(10);
    let write = PackedWrite::Move { owner: entries[0].owner.clone(), from: extent, to, modified: NOW };
    f.meta.commit_packed(&other.commit(vec![write])).await.unwrap().pop().unwrap().unwrap();
    let found = f.meta.resolve(BUCKET, "k", Some(&version), ReadRange::Whole).await.unwrap();
    assert_eq!(found.object.content, Content::Packed(to));
    // And what is a version is found from the start.
    assert_eq!(f.meta.packed_entries(to.chunk, 10).await.unwrap().len(), 1);
    f.fold_all().await;
    assert!(f.meta.packed_entries(extent.chunk, 10).await.unwrap().is_empty());
}

async fn locks_hold_until_they_are_over(f: &Fixture) {
    let retention = |mode, until| Some(Retention { mode, until });
    let locked = |lock: ObjectLock| {
        let mut commit = f.put("k", &[1]);
        commit.object.lock = lock;
        commit
    };
    let until = ObjectLock { retention: retention(RetentionMode::Governance, NOW + 10), legal_hold: None };
    assert!(matches!(f.meta.commit_put(&locked(until)).await, Err(Error::NoObjectLock(_))));
    set(f, Versioning::Enabled).await;
    assert!(matches!(f.meta.commit_put(&locked(until)).await, Err(Error::NoObjectLock(_))));
    f.meta.change_bucket(BUCKET, &BucketChange::Lock(BucketLock::default())).await.unwrap();
    let version = f.meta.commit_put(&locked(until)).await.unwrap().unwrap();

    let delete = async |version: &VersionId, bypass: bool, now: i64| {
        let keys = [DeleteKey { key: "k".into(), version: Some(version.clone()), bypass, ..DeleteKey::default() }];
        f.meta.delete(BUCKET, &keys, "owner", now).await.unwrap().pop().unwrap()
    };
    assert!(matches!(delete(&version, false, NOW).await, Err(Error::ObjectLocked { .. })));
    // A plain delete hides it, and another write comes after it: neither takes it away.
    delete_one(f, "k", None).await.unwrap();
    put_one(f, "k", 3).await;
    assert!(matches!(delete(&version, false, NOW + 9).await, Err(Error::ObjectLocked { .. })));
    let change = async |change: VersionChange| f.meta.change_version(BUCKET, "k", Some(&version), &change, NOW).await;
    change(VersionChange::LegalHold(true)).await.unwrap();
    assert!(matches!(delete(&version, true, NOW + 11).await, Err(Error::ObjectLocked { .. })));
    change(VersionChange::LegalHold(false)).await.unwrap();
    let to = |mode, until, bypass| VersionChange::Retention { retention: retention(mode, until), bypass };
    let shorter = to(RetentionMode::Governance, NOW + 5, false);
    assert!(matches!(change(shorter).await, Err(Error::ObjectLocked { .. })));
    change(to(RetentionMode::Compliance, NOW + 20, true)).await.unwrap();
    assert!(matches!(delete(&version, true, NOW + 19).await, Err(Error::ObjectLocked { .. })));
    let shown = f.meta.resolve(BUCKET, "k", Some(&version), ReadRange::Nothing).await.unwrap().object.lock;
    let expected = retention(RetentionMode::Compliance, NOW + 20);
    assert_eq!(shown, ObjectLock { retention: expected, legal_hold: Some(false) });
    delete(&version, false, NOW + 20).await.unwrap();
    assert!(matches!(
        f.meta.change_version(BUCKET, "k", Some(&version), &VersionChange::LegalHold(true), NOW).await,
        Err(Error::NoSuchVersion { .. })
    ));
    // One locked key among others keeps only itself.
    let kept = f.meta.commit_put(&locked(until)).await.unwrap().unwrap();
    let (other, _) = put_one(f, "other", 1).await;
    let keys = [("k", &kept), ("other", &other)];
    let keys = keys.map(|(key, version)| DeleteKey {
        key: key.into(),
        version: Some(version.clone()),
        ..DeleteKey::default()
    });
    let results = f.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap();
    assert!(matches!(results[0], Err(Error::ObjectLocked { .. })), "{results:?}");
    assert!(results[1].is_ok());
    assert_eq!(versions(f, "other").await, []);
}

async fn a_bucket_that_locks_keeps_its_versions(f: &Fixture) {
    let lock = BucketChange::Lock(BucketLock {
        retention: Some(DefaultRetention { mode: RetentionMode::Compliance, period: Period::Days(1) }),
    });
    assert!(matches!(f.meta.change_bucket(BUCKET, &lock).await, Err(Error::BucketState(_))));
    set(f, Versioning::Suspended).await;
    assert!(matches!(f.meta.change_bucket(BUCKET, &lock).await, Err(Error::BucketState(_))));
    set(f, Versioning::Enabled).await;
    f.meta.change_bucket(BUCKET, &lock).await.unwrap();
    let suspended = BucketChange::Versioning(Versioning::Suspended);
    assert!(matches!(f.meta.change_bucket(BUCKET, &suspended).await, Err(Error::BucketState(_))));
    let bucket = f.meta.bucket(BUCKET).await.unwrap();
    assert_eq!((bucket.versioning, BucketChange::Lock(bucket.lock.unwrap())), (Versioning::Enabled, lock));
    // Every way of writing is locked by default.
    let until = Some(Retention { mode: RetentionMode::Compliance, until: NOW + 86_400_000 });
    put_one(f, "large", 1).await;
    let mut pack = Pack::new(f);
    let extent = pack.extent(9);
    f.meta.commit_packed(&pack.commit(vec![put("small", Some(extent))])).await.unwrap().pop().unwrap().unwrap();
    f.meta.commit_copy(&f.copy("large", "copy").await).await.unwrap();
    for key in ["large", "small", "copy"] {
        assert_eq!(f.resolve(key).await.unwrap().object.lock.retention, until, "{key}");
    }
    let new = NewBucket {
        name: "locks".into(),
        region: String::new(),
        owner: "owner".into(),
        lock: true,
        configs: Vec::new(),
        created: NOW,
    };
    let made = f.meta.create_bucket(&new).await.unwrap();
    assert_eq!((made.versioning, made.lock), (Versioning::Enabled, Some(BucketLock::default())));
}

async fn writers_of_one_key_make_as_many_versions(f: &Fixture) {
    set(f, Versioning::Enabled).await;
    let commits = (0..20).map(|_| (f.meta.clone(), f.put("k", &[1])));
    let made = all(commits.map(|(meta, commit)| async move { meta.commit_put(&commit).await.unwrap().unwrap() })).await;
    let listed: Vec<_> = versions(f, "k").await;
    assert_eq!(listed.len(), made.len());
    assert!(made.iter().all(|version| listed.iter().any(|listed| listed.version == *version)));
    assert_eq!(listed.iter().filter(|listed| listed.latest).count(), 1);
    // All deleted at once, from both ends: each deletion promotes, or does not, what the others leave.
    let deletes = made.into_iter().map(|version| {
        let meta = f.meta.clone();
        async move {
            let keys = [DeleteKey { key: "k".into(), version: Some(version), ..DeleteKey::default() }];
            meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap().unwrap();
        }
    });
    all(deletes).await;
    assert_eq!(versions(f, "").await, []);
    assert!(matches!(f.resolve("k").await, Err(Error::NoSuchKey { .. })));
}

/// A version is listed wherever it is: while another is written over it, and deleted again, it is the object and is not.
async fn a_page_has_what_becomes_the_object_meanwhile(f: &Fixture) {
    set(f, Versioning::Enabled).await;
    let (stays, _) = put_one(f, "k", 1).await;
    let (marker, _) = put_one(f, "k", 1).await;
    delete_one(f, "k", Some(&marker)).await.unwrap();
    let (meta, done) = (f.meta.clone(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&done);
    let writer = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            let delete = |version| DeleteKey { key: "k".into(), version, ..DeleteKey::default() };
            let hidden = meta.delete(BUCKET, &[delete(None)], "owner", NOW).await.unwrap().pop().unwrap().unwrap();
            meta.delete(BUCKET, &[delete(hidden.version)], "owner", NOW).await.unwrap().pop().unwrap().unwrap();
        }
    });
    for turn in 0..400 {
        let delimiter = if turn % 2 == 0 { String::new() } else { "/".into() };
        let query =
            ListQuery { bucket: BUCKET.into(), after: "k".into(), delimiter, limit: 10, ..ListQuery::default() };
        let page = f.meta.list_versions(&query, Some(&marker)).await.unwrap();
        let listed: Vec<_> = page.entries.iter().map(|listed| &listed.version).collect();
        assert_eq!(listed, [&stays], "in turn {turn}");
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

/// A write sees versioning either as it was or as it is: none is lost in between.
async fn a_change_of_versioning_waits_for_writes(f: &Fixture) {
    put_null(f, "k").await;
    let meta = f.meta.clone();
    let commits: Vec<_> = (0..30).map(|_| f.put("k", &[1])).collect();
    let writer = tokio::spawn(async move {
        let mut kept = 0;
        for commit in commits {
            kept += usize::from(meta.commit_put(&commit).await.unwrap().is_some_and(|version| !version.is_null()));
        }
        kept
    });
    set(f, Versioning::Enabled).await;
    let kept = writer.await.unwrap();
    // The null version is the last one of before.
    assert_eq!(versions(f, "k").await.len(), kept + 1);
}

async fn what_cannot_be_is_found(f: &Fixture) {
    set(f, Versioning::Enabled).await;
    put_one(f, "k", 1).await;
    put_one(f, "k", 2).await;
    let found = async || {
        let checked = f.meta.check_versions(&(i64::MIN, Vec::new())).await.unwrap();
        checked.found.into_iter().map(|found| found.what).collect::<Vec<_>>()
    };
    assert_eq!(found().await, Vec::<&str>::new());
    for (make, unmake, what) in [
        ("UPDATE objects SET seq = 1", "UPDATE objects SET seq = 2", "version that is newer than the object"),
        ("UPDATE versions SET seq = 9", "UPDATE versions SET seq = 1", "version out of its place"),
    ] {
        f.raw.execute(make).await;
        assert!(found().await.contains(&what), "{what}");
        f.raw.execute(unmake).await;
    }
    f.raw.execute("UPDATE objects SET key = key || key").await;
    assert_eq!(found().await, ["newest version that is not the object"]);
    let half = match f.raw {
        Raw::Postgres(_) => "UPDATE objects SET key = substr(key, 1, 1)",
        Raw::Sqlite(_) => "UPDATE objects SET key = CAST('k' AS BLOB)",
    };
    f.raw.execute(half).await;
    assert_eq!(found().await, Vec::<&str>::new());
}
