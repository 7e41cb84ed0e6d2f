use std::collections::BTreeMap;

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    what_is_put_is_resolved,
    ranges_are_clipped_and_come_with_the_extents_they_overlap,
    extents_come_in_pages,
    overwriting_releases_what_was_there,
    conditions_are_tested_on_the_current_object,
    deletes_answer_for_each_key_in_order,
    data_with_gaps_is_refused,
    empty_objects_have_no_data,
    missing_shards_enter_the_heal_queue_with_the_commit,
    keys_are_bytes,
);

async fn what_is_put_is_resolved(f: &Fixture) {
    let mut commit = f.put("a/b", &[100, 50]);
    commit.object.checksum = Some(Checksum {
        algorithm: ChecksumAlgorithm::Crc64Nvme,
        kind: ChecksumType::FullObject,
        value: "AAAAAAAAAAA=".into(),
    });
    commit.object.headers = Headers {
        content_type: Some("text/plain; charset=\"ü\"".into()),
        user: BTreeMap::from([("name".into(), "välue \"quoted\"".into())]),
        ..Headers::default()
    };
    commit.object.tags = BTreeMap::from([("tag".into(), "value".into()), ("other".into(), String::new())]);
    f.meta.commit_put(&commit).await.unwrap();

    let resolved = f.resolve("a/b").await.unwrap();
    let NewObject { key, etag, modified, checksum, headers, tags, owner, lock, acl, storage_class } = commit.object;
    let content = resolved.object.content;
    let expected = Object {
        key,
        size: 150,
        etag,
        modified,
        checksum,
        headers,
        tags,
        owner,
        parts: None,
        lock,
        acl,
        storage_class,
        content,
    };
    assert_eq!(resolved.object, expected);
    assert_eq!(resolved.range, 0..150);
    let extents: Vec<_> = resolved.extents.iter().map(|placed| placed.extent).collect();
    assert_eq!(extents, commit.data.extents);
    for (placed, chunk) in resolved.extents.iter().zip(&commit.data.chunks) {
        assert_eq!((placed.chunk_len, placed.placement, placed.missing), (chunk.len, chunk.placement, chunk.missing));
        assert_eq!(f.meta.placement(chunk.id).await.unwrap(), Some(chunk.placement));
    }
    assert_eq!(f.meta.placement(f.chunk_id()).await.unwrap(), None);

    assert!(matches!(f.resolve("a").await, Err(Error::NoSuchKey { .. })));
    assert!(matches!(f.meta.resolve("none", "a/b", None, ReadRange::Whole).await, Err(Error::NoSuchBucket(_))));
}

async fn ranges_are_clipped_and_come_with_the_extents_they_overlap(f: &Fixture) {
    let lens = [7u64, 1, 30, 12, 50];
    f.commit("key", &lens).await;
    let size: u64 = lens.iter().sum();
    let mut cases = vec![(ReadRange::Nothing, 0..0), (ReadRange::Whole, 0..size), (ReadRange::Part(1), 0..size)];
    for from in 0..=size + 2 {
        cases.push((ReadRange::From(from, None), from.min(size)..size));
        let suffix = size.saturating_sub(from)..size;
        cases.push((ReadRange::Suffix(from), suffix));
        for last in [from, from + 1, from + 20, u64::MAX] {
            cases.push((ReadRange::From(from, Some(last)), from.min(size)..last.saturating_add(1).min(size)));
        }
    }
    cases.push((ReadRange::Suffix(u64::MAX), 0..size));
    cases.push((ReadRange::From(u64::MAX, None), size..size));
    for (range, expected) in cases {
        let resolved = f.meta.resolve(BUCKET, "key", None, range).await.unwrap();
        if expected.is_empty() {
            assert!(resolved.range.is_empty(), "{range:?}: {:?}", resolved.range);
        } else {
            assert_eq!(resolved.range, expected, "{range:?}");
        }
        let mut start = 0;
        let overlapping = lens.iter().filter_map(|&len| {
            let extent = start..start + len;
            start += len;
            (!expected.is_empty() && extent.start < expected.end && extent.end > expected.start).then_some(extent.start)
        });
        let found: Vec<_> = resolved.extents.iter().map(|placed| placed.extent.start).collect();
        assert_eq!(found, overlapping.collect::<Vec<_>>(), "{range:?}");
        assert_eq!(resolved.object.headers, Headers::default());
        let is_part = matches!(range, ReadRange::Part(_));
        assert_eq!(resolved.part.is_some(), is_part);
    }
    let resolved = f.meta.resolve(BUCKET, "key", None, ReadRange::Part(2)).await.unwrap();
    assert!(resolved.part.is_none() && resolved.range.is_empty() && resolved.extents.is_empty());
}

async fn extents_come_in_pages(f: &Fixture) {
    let lens: Vec<u64> = (0..150).map(|i| 1 + i % 3).collect();
    let size: u64 = lens.iter().sum();
    let commit = f.commit("key", &lens).await;
    let resolved = f.resolve("key").await.unwrap();
    assert_eq!(resolved.extents.len(), EXTENT_PAGE as usize);
    let mut all: Vec<Extent> = resolved.extents.iter().map(|placed| placed.extent).collect();
    let data = f.data_of("key").await;
    while let Some(last) = all.last().filter(|last| last.start + last.len < size) {
        let query = ExtentQuery { data, from: last.start + last.len, to: size };
        let page = f.meta.extents(query).await.unwrap();
        assert!(!page.is_empty());
        all.extend(page.iter().map(|placed| placed.extent));
    }
    assert_eq!(all, commit.data.extents);
    assert!(f.meta.extents(ExtentQuery { data, from: 5, to: 5 }).await.unwrap().is_empty());
    assert!(f.meta.extents(ExtentQuery { data, from: size, to: size + 1 }).await.unwrap().len() <= 1);
}

async fn overwriting_releases_what_was_there(f: &Fixture) {
    f.commit("key", &[100, 20]).await;
    let second = f.commit("key", &[30]).await;
    assert_eq!(f.resolve("key").await.unwrap().object.etag, second.object.etag);
    f.check().await;
    let folded = f.fold_all().await;
    assert_eq!((folded.rows, folded.data, folded.chunks), (1, 1, 2));
    assert_eq!(f.resolve("key").await.unwrap().range, 0..30);
    f.delete("key").await;
    assert!(matches!(f.resolve("key").await, Err(Error::NoSuchKey { .. })));
    assert_eq!(f.fold_all().await.chunks, 1);
}

async fn conditions_are_tested_on_the_current_object(f: &Fixture) {
    let with = |condition: WriteCondition| PutCommit { condition, ..f.put("key", &[10]) };
    let absent = WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() };
    let etag = |etag: &str| WriteCondition { etags: Some(vec!["x".into(), etag.into()]), ..WriteCondition::default() };

    assert!(matches!(f.meta.commit_put(&with(etag("*"))).await, Err(Error::NoSuchKey { .. })));
    let first = with(absent.clone());
    f.meta.commit_put(&first).await.unwrap();
    fn refused<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
        match result {
            Err(Error::PreconditionFailed { header, .. }) => header,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused(f.meta.commit_put(&with(absent)).await), "If-None-Match");
    assert_eq!(refused(f.meta.commit_put(&with(etag("y"))).await), "If-Match");
    assert_eq!(f.resolve("key").await.unwrap().object.etag, first.object.etag);
    f.meta.commit_put(&with(etag("*"))).await.unwrap();
    let current = f.resolve("key").await.unwrap().object.etag;
    f.meta.commit_put(&with(etag(&current))).await.unwrap();

    let size = |size| WriteCondition { size: Some(size), ..WriteCondition::default() };
    let modified = |modified| WriteCondition { modified: Some(modified), ..WriteCondition::default() };
    let delete = async |condition: WriteCondition| {
        let keys = [DeleteKey { key: "key".into(), condition, ..DeleteKey::default() }];
        f.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap()
    };
    assert_eq!(refused(delete(size(9)).await), "x-amz-if-match-size");
    assert_eq!(refused(delete(modified(NOW - 1000)).await), "x-amz-if-match-last-modified-time");
    // Equal to the second.
    delete(WriteCondition { size: Some(10), ..modified(NOW + 999) }).await.unwrap();
    assert!(matches!(delete(etag("*")).await, Err(Error::NoSuchKey { .. })));
    delete(size(10)).await.unwrap();
    delete(WriteCondition::default()).await.unwrap();
    // What was refused left nothing behind.
    f.fold_all().await;
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM data").await, 0);
}

async fn deletes_answer_for_each_key_in_order(f: &Fixture) {
    let key = |i: usize| format!("key-{i:04}");
    let mut etags = BTreeMap::new();
    for i in (0..250).step_by(2) {
        etags.insert(i, f.commit(&key(i), &[1]).await.object.etag);
    }
    let mut keys = Vec::new();
    for i in (0..250).rev() {
        let etags = match i % 10 {
            4 => Some(vec!["wrong".into()]),
            6 => Some(vec![etags[&i].clone()]),
            7 => Some(vec!["*".into()]),
            _ => None,
        };
        let condition = WriteCondition { etags, ..WriteCondition::default() };
        keys.push(DeleteKey { key: key(i), condition, ..DeleteKey::default() });
    }
    // The same key again, in the same and in a later transaction: gone already, so that only a condition fails.
    keys.push(keys[0].clone());
    keys.insert(1, DeleteKey { key: key(248), ..DeleteKey::default() });
    keys.insert(1, DeleteKey { key: key(248), ..DeleteKey::default() });
    let results = f.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap();
    assert_eq!(results.len(), keys.len());
    for (key, result) in keys.iter().zip(results) {
        let i: usize = key.key[4..].parse().unwrap();
        match i % 10 {
            4 => {
                assert!(matches!(result, Err(Error::PreconditionFailed { header: "If-Match", .. })), "{i}: {result:?}")
            }
            7 => assert!(matches!(result, Err(Error::NoSuchKey { .. })), "{i}: {result:?}"),
            _ => _ = result.unwrap(),
        }
    }
    let left = f.meta.list_objects(&ListQuery { bucket: BUCKET.into(), limit: 1000, ..ListQuery::default() }).await;
    assert_eq!(left.unwrap().entries.len(), 25);
    assert!(f.meta.delete(BUCKET, &[], "owner", NOW).await.unwrap().is_empty());
    assert!(matches!(f.meta.delete("none", &keys[..1], "owner", NOW).await, Err(Error::NoSuchBucket(_))));
}

async fn data_with_gaps_is_refused(f: &Fixture) {
    let mut commit = f.put("key", &[10, 10]);
    commit.data.extents[1].start = 11;
    assert!(matches!(f.meta.commit_put(&commit).await, Err(Error::Corrupt(_))));
    // A gap and an overlap that make up for each other.
    let mut commit = f.put("key", &[10, 10, 10]);
    commit.data.extents[1].start = 11;
    assert!(matches!(f.meta.commit_put(&commit).await, Err(Error::Corrupt(_))));
    let mut commit = f.put("key", &[10, 10]);
    commit.data.len = 21;
    assert!(matches!(f.meta.commit_put(&commit).await, Err(Error::Corrupt(_))));
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks").await, 0);
}

async fn empty_objects_have_no_data(f: &Fixture) {
    f.commit("empty", &[]).await;
    for range in [ReadRange::Whole, ReadRange::Suffix(5), ReadRange::From(0, None), ReadRange::Part(1)] {
        let resolved = f.meta.resolve(BUCKET, "empty", None, range).await.unwrap();
        assert_eq!((resolved.object.content, resolved.object.size), (Content::Empty, 0));
        assert!(resolved.range.is_empty() && resolved.extents.is_empty());
    }
    f.commit("empty", &[5]).await;
    f.commit("empty", &[]).await;
    assert_eq!(f.fold_all().await.chunks, 1);
    f.delete("empty").await;
    assert_eq!(f.fold_all().await.rows, 0);
}

async fn missing_shards_enter_the_heal_queue_with_the_commit(f: &Fixture) {
    let mut commit = f.put("key", &[10, 10]);
    commit.data.chunks[1].missing.insert(3);
    commit.data.chunks[1].missing.insert(8);
    commit.data.chunks[1].placement.0[8] = None;
    f.meta.commit_put(&commit).await.unwrap();
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 2);
    let tasks = f.meta.heal_tasks(NOW, 10).await.unwrap();
    let id = commit.data.chunks[1].id;
    assert_eq!(tasks.iter().map(|task| (task.chunk, task.shard)).collect::<Vec<_>>(), [(id, 3), (id, 8)]);
    let placed = f.resolve("key").await.unwrap().extents[1];
    assert_eq!((placed.missing, placed.placement), (commit.data.chunks[1].missing, commit.data.chunks[1].placement));
}

async fn keys_are_bytes(f: &Fixture) {
    let long = "k".repeat(1024);
    let keys = ["a", "a/", "a/b", "A", "é", "e\u{301}", "😀", "//", "..", "%2F", " ", "'\"\\", "a%", "a_", &long];
    for key in keys {
        f.commit(key, &[1]).await;
    }
    for key in keys {
        assert_eq!(f.resolve(key).await.unwrap().object.key, key);
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let page = f.meta.list_objects(&ListQuery { bucket: BUCKET.into(), limit: 1000, ..ListQuery::default() }).await;
    let listed: Vec<_> = page.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(listed, sorted);
}
