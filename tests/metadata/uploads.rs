use std::ops::Range;
use std::time::Duration;

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    parts_become_an_object_without_moving,
    what_was_validated_must_still_be_there,
    a_copy_shares_data_and_parts,
    a_part_may_refer_to_a_range_of_an_object,
    references_are_refused_once_the_source_is_gone,
    aborted_uploads_release_their_parts,
    empty_parts_have_no_data,
    ten_thousand_parts_are_completed_at_once,
    idle_uploads_expire,
    uploads_keep_their_template,
);

const MIB: u64 = 1 << 20;

async fn parts_become_an_object_without_moving(f: &Fixture) {
    f.commit("key", &[5]).await;
    let upload = f.upload("key").await;
    let mut commits = Vec::new();
    for number in [7, 2, 9, 4] {
        let mut commit = f.part("key", &upload, number, &[10, u64::from(number)]);
        commit.checksum = Some(Checksum {
            algorithm: ChecksumAlgorithm::Crc32,
            kind: ChecksumType::Composite,
            value: format!("sum-{number}"),
        });
        assert_eq!(f.meta.commit_part(&commit).await.unwrap(), 10 + u64::from(number));
        commits.push(commit);
    }
    // Sent again: the last one counts.
    let again = f.part("key", &upload, 2, &[33]);
    f.meta.commit_part(&again).await.unwrap();
    f.check().await;

    let parts = f.parts("key", &upload).await;
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 4, 7, 9]);
    assert_eq!((parts[0].size, &parts[0].etag, &parts[0].checksum), (33, &again.etag, &None));
    assert_eq!((parts[2].size, &parts[2].etag, &parts[2].checksum), (17, &commits[0].etag, &commits[0].checksum));
    let page = f.meta.parts(BUCKET, "key", &upload, PartQuery { after: 2, limit: 2 }).await.unwrap();
    assert_eq!(page, parts[1..3]);
    assert!(f.meta.parts(BUCKET, "key", &upload, PartQuery { after: 9, limit: 2 }).await.unwrap().is_empty());

    let chosen = vec![parts[0].clone(), parts[2].clone(), parts[3].clone()];
    let complete = f.complete("key", &upload, chosen);
    f.meta.complete_upload(&complete).await.unwrap();
    let resolved = f.resolve("key").await.unwrap();
    assert_eq!((resolved.object.size, resolved.object.parts), (33 + 17 + 19, Some(3)));
    let Content::Data(data) = resolved.object.content else { panic!() };
    let chunks = |commit: &PartCommit| match &commit.source {
        PartSource::New(data) => data.chunks.iter().map(|chunk| chunk.id).collect::<Vec<_>>(),
        PartSource::Range { .. } => panic!(),
    };
    let expected = [chunks(&again), chunks(&commits[0]), chunks(&commits[2])].concat();
    let found: Vec<_> = resolved.extents.iter().map(|placed| (placed.extent.chunk, placed.extent.start)).collect();
    assert_eq!(found, expected.into_iter().zip([0, 33, 43, 50, 60]).collect::<Vec<_>>());

    let stored = f.meta.object_parts(data, PartQuery { after: 0, limit: 10 }).await.unwrap();
    let numbers: Vec<_> = stored.iter().map(|part| (part.number, part.start, part.size)).collect();
    assert_eq!(numbers, [(2, 0, 33), (7, 33, 17), (9, 50, 19)]);
    assert_eq!(stored[1].checksum.as_deref(), Some("sum-7"));
    assert_eq!(f.meta.object_parts(data, PartQuery { after: 2, limit: 1 }).await.unwrap(), stored[1..2]);
    let part = f.meta.resolve(BUCKET, "key", None, ReadRange::Part(7)).await.unwrap();
    assert_eq!((part.range, part.part.as_ref(), part.extents.len()), (33..50, Some(&stored[1]), 2));
    let none = f.meta.resolve(BUCKET, "key", None, ReadRange::Part(1)).await.unwrap();
    assert!(none.part.is_none() && none.range.is_empty());

    // The upload is gone; what it replaced and what was not chosen is released.
    assert!(matches!(
        f.meta.complete_upload(&f.complete("key", &upload, vec![])).await,
        Err(Error::NoSuchUpload { .. })
    ));
    let late = f.part("key", &upload, 1, &[1]);
    assert!(matches!(f.meta.commit_part(&late).await, Err(Error::NoSuchUpload { .. })));
    f.check().await;
    let folded = f.fold_all().await;
    assert_eq!((folded.data, folded.chunks), (3, 1 + 2 + 2));
    f.delete("key").await;
    assert_eq!(f.fold_all().await.chunks, 5);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM data_parts").await, 0);
}

async fn what_was_validated_must_still_be_there(f: &Fixture) {
    let upload = f.upload("key").await;
    for number in 1..=3 {
        f.meta.commit_part(&f.part("key", &upload, number, &[10])).await.unwrap();
    }
    let validated = f.parts("key", &upload).await;
    f.meta.commit_part(&f.part("key", &upload, 2, &[10])).await.unwrap();
    let invalid = async |parts: Vec<Part>| match f.meta.complete_upload(&f.complete("key", &upload, parts)).await {
        Err(Error::InvalidPart { number, .. }) => number,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(validated.clone()).await, 2);
    let current = f.parts("key", &upload).await;
    assert_eq!(invalid(vec![current[0].clone(), Part { number: 4, ..current[1].clone() }]).await, 4);
    assert_eq!(invalid(vec![Part { size: 11, ..current[0].clone() }]).await, 1);
    assert_eq!(invalid(vec![current[0].clone(), current[0].clone()]).await, 1);
    let mut refused = f.complete("key", &upload, current.clone());
    refused.condition.etags = Some(vec!["*".into()]);
    assert!(matches!(f.meta.complete_upload(&refused).await, Err(Error::NoSuchKey { .. })));
    // Of another key or bucket it is another upload.
    let other = CompleteCommit { key: "other".into(), ..f.complete("key", &upload, current.clone()) };
    assert!(matches!(f.meta.complete_upload(&other).await, Err(Error::NoSuchUpload { .. })));
    f.bucket("other").await;
    let other = CompleteCommit { bucket: "other".into(), ..f.complete("key", &upload, current.clone()) };
    assert!(matches!(f.meta.complete_upload(&other).await, Err(Error::NoSuchUpload { .. })));
    assert!(matches!(f.resolve("key").await, Err(Error::NoSuchKey { .. })));
    f.meta.complete_upload(&f.complete("key", &upload, current)).await.unwrap();
}

async fn a_copy_shares_data_and_parts(f: &Fixture) {
    let upload = f.upload("key").await;
    for number in 1..=2 {
        f.meta.commit_part(&f.part("key", &upload, number, &[10])).await.unwrap();
    }
    let parts = f.parts("key", &upload).await;
    f.meta.complete_upload(&f.complete("key", &upload, parts)).await.unwrap();
    let copy = f.copy("key", "copy").await;
    f.meta.commit_copy(&copy).await.unwrap();
    // Onto itself: the reference that was there is dropped after the new one was taken.
    let onto_itself = f.copy("key", "key").await;
    f.meta.commit_copy(&onto_itself).await.unwrap();
    f.check().await;
    assert_eq!(f.fold_all().await.chunks, 0);
    assert_eq!(f.resolve("key").await.unwrap().object.etag, onto_itself.object.etag);

    f.delete("key").await;
    assert_eq!(f.fold_all().await.chunks, 0);
    let part = f.meta.resolve(BUCKET, "copy", None, ReadRange::Part(2)).await.unwrap();
    assert_eq!((part.range, part.object.parts, part.extents.len()), (10..20, Some(2), 1));
    let refused = CopyCommit {
        batch: batch(),
        condition: WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() },
        ..f.copy("copy", "copy").await
    };
    assert!(matches!(f.meta.commit_copy(&refused).await, Err(Error::PreconditionFailed { .. })));
    f.delete("copy").await;
    assert_eq!(f.fold_all().await.chunks, 2);
}

/// Where each run of bytes is: chunk, offset in the chunk's bytes, length. Runs that touch are one.
fn runs<'a>(extents: impl IntoIterator<Item = &'a Extent>) -> Vec<(ChunkId, u64, u64)> {
    let mut runs: Vec<(ChunkId, u64, u64)> = Vec::new();
    for extent in extents {
        let stripe = (extent.position - HEADER_LEN) / (BLOCK_HEADER_LEN + u64::from(block_len(extent.stripe_len)));
        assert_eq!((extent.position - HEADER_LEN) % (BLOCK_HEADER_LEN + u64::from(block_len(extent.stripe_len))), 0);
        let offset = stripe * u64::from(extent.stripe_len) + u64::from(extent.skip);
        match runs.last_mut() {
            Some((chunk, at, len)) if *chunk == extent.chunk && *at + *len == offset => *len += extent.len,
            _ => runs.push((extent.chunk, offset, extent.len)),
        }
    }
    runs
}

/// The runs of a range of bytes that these runs make.
fn slice(runs: &[(ChunkId, u64, u64)], range: Range<u64>) -> Vec<(ChunkId, u64, u64)> {
    let mut start = 0;
    let mut found = Vec::new();
    for &(chunk, offset, len) in runs {
        let (from, to) = (range.start.max(start), range.end.min(start + len));
        if from < to {
            found.push((chunk, offset + (from - start), to - from));
        }
        start += len;
    }
    found
}

async fn a_part_may_refer_to_a_range_of_an_object(f: &Fixture) {
    let source = f.commit("source", &[3 * MIB + 5, 17, 2 * MIB, 7 * MIB + 1]).await;
    let size = source.data.len;
    let source_runs = runs(&source.data.extents);
    let ranges = [
        0..size,
        0..1,
        size - 1..size,
        MIB - 1..MIB + 1,
        MIB..2 * MIB,
        3 * MIB..3 * MIB + 30,
        3 * MIB + 5..3 * MIB + 22,
        5 * MIB + 3..9 * MIB + 100,
    ];
    let upload = f.upload("key").await;
    let data = f.data_of("source").await;
    let mut expected = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        let source = PartSource::Range { data, range: range.clone() };
        let commit = PartCommit { source, ..f.part("key", &upload, i as u32 + 1, &[]) };
        assert_eq!(f.meta.commit_part(&commit).await.unwrap(), range.end - range.start);
        expected.extend(slice(&source_runs, range.clone()));
    }
    f.check().await;
    let parts = f.parts("key", &upload).await;
    f.meta.complete_upload(&f.complete("key", &upload, parts)).await.unwrap();
    let resolved = f.resolve("key").await.unwrap();
    // A range of what was made of ranges.
    let again = f.upload("again").await;
    let range = MIB + 7..size + 5 * MIB;
    let source = PartSource::Range { data: f.data_of("key").await, range: range.clone() };
    let commit = PartCommit { source, ..f.part("again", &again, 1, &[]) };
    f.meta.commit_part(&commit).await.unwrap();
    let parts = f.parts("again", &again).await;
    f.meta.complete_upload(&f.complete("again", &again, parts)).await.unwrap();

    let merge = |found: Vec<(ChunkId, u64, u64)>| {
        let mut merged: Vec<(ChunkId, u64, u64)> = Vec::new();
        for (chunk, offset, len) in found {
            match merged.last_mut() {
                Some((last, at, total)) if *last == chunk && *at + *total == offset => *total += len,
                _ => merged.push((chunk, offset, len)),
            }
        }
        merged
    };
    let all = merge(expected);
    assert_eq!(runs(resolved.extents.iter().map(|placed| &placed.extent)), all);
    let found = f.resolve("again").await.unwrap();
    assert_eq!(runs(found.extents.iter().map(|placed| &placed.extent)), merge(slice(&all, range)));

    // Chunks die with the last of those who refer to them.
    f.delete("source").await;
    f.delete("key").await;
    assert_eq!(f.fold_all().await.chunks, 0);
    f.check().await;
    f.delete("again").await;
    assert_eq!(f.fold_all().await.chunks, 4);
}

async fn references_are_refused_once_the_source_is_gone(f: &Fixture) {
    f.commit("source", &[100]).await;
    let data = f.data_of("source").await;
    let upload = f.upload("key").await;
    let range = |range: Range<u64>| PartSource::Range { data, range };
    let part = |source| PartCommit { source, ..f.part("key", &upload, 1, &[]) };
    assert!(matches!(f.meta.commit_part(&part(range(50..101))).await, Err(Error::SourceChanged)));
    let copy = f.copy("source", "copy").await;
    assert!(matches!(f.meta.commit_copy(&CopyCommit { size: 99, ..copy.clone() }).await, Err(Error::SourceChanged)));
    // Released, but not folded: the bytes are still there, and may gain a reference.
    f.delete("source").await;
    f.meta.commit_part(&part(range(10..20))).await.unwrap();
    f.check().await;
    assert_eq!(f.fold_all().await, Folded { rows: 1, data: 1, chunks: 0 });
    assert!(matches!(f.meta.commit_part(&part(range(10..20))).await, Err(Error::SourceChanged)));
    assert!(matches!(f.meta.commit_copy(&CopyCommit { batch: batch(), ..copy }).await, Err(Error::SourceChanged)));
    assert!(matches!(f.resolve("copy").await, Err(Error::NoSuchKey { .. })));
}

async fn aborted_uploads_release_their_parts(f: &Fixture) {
    let upload = f.upload("key").await;
    for number in 1..=3 {
        f.meta.commit_part(&f.part("key", &upload, number, &[10, 10])).await.unwrap();
    }
    assert!(matches!(f.meta.abort_upload(BUCKET, "other", &upload, NOW).await, Err(Error::NoSuchUpload { .. })));
    assert!(matches!(f.meta.abort_upload("none", "key", &upload, NOW).await, Err(Error::NoSuchBucket(_))));
    f.meta.abort_upload(BUCKET, "key", &upload, NOW).await.unwrap();
    assert!(matches!(f.meta.abort_upload(BUCKET, "key", &upload, NOW).await, Err(Error::NoSuchUpload { .. })));
    assert!(matches!(
        f.meta.parts(BUCKET, "key", &upload, PartQuery { after: 0, limit: 1 }).await,
        Err(Error::NoSuchUpload { .. })
    ));
    assert_eq!(f.fold_all().await.chunks, 6);
}

async fn empty_parts_have_no_data(f: &Fixture) {
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[])).await.unwrap();
    let parts = f.parts("key", &upload).await;
    f.meta.complete_upload(&f.complete("key", &upload, parts)).await.unwrap();
    let resolved = f.meta.resolve(BUCKET, "key", None, ReadRange::Part(1)).await.unwrap();
    assert_eq!((resolved.object.size, resolved.object.parts, resolved.range), (0, Some(1), 0..0));
    assert_eq!(resolved.part.map(|part| part.size), Some(0));
    f.meta.commit_copy(&f.copy("key", "copy").await).await.unwrap();
    f.delete("key").await;
    f.delete("copy").await;
    assert_eq!(f.fold_all().await.data, 1);
}

async fn ten_thousand_parts_are_completed_at_once(f: &Fixture) {
    let upload = f.upload("key").await;
    f.meta.commit_part(&f.part("key", &upload, 1, &[10])).await.unwrap();
    // The other 9,999 by hand, as one commit each would take minutes.
    let with_numbers =
        "WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";
    let first = f.raw.int("SELECT MAX(data_id) FROM data").await;
    let overriding = if matches!(f.raw, Raw::Postgres(_)) { "OVERRIDING SYSTEM VALUE" } else { "" };
    f.raw
        .execute(&format!(
            "{with_numbers} INSERT INTO data (data_id, refs, len) {overriding} SELECT {first} + i - 1, 1, 10 FROM n"
        ))
        .await;
    if overriding.is_empty() {
        assert_eq!(f.raw.int("SELECT seq FROM sqlite_sequence WHERE name = 'data'").await, first + 9999);
    } else {
        f.raw.ints(&format!("SELECT setval(pg_get_serial_sequence('data', 'data_id'), {})", first + 9999)).await;
    }
    f.raw.execute(&format!("{with_numbers} INSERT INTO extents SELECT {first} + i - 1, 0, (SELECT chunk_id FROM chunks), 4096, 1048576, 0, 10 FROM n")).await;
    f.raw.execute("UPDATE chunks SET live = 100000").await;
    f.raw
        .execute(&format!(
            "{with_numbers} INSERT INTO parts (upload_id, number, size, etag, modified, data_id) \
         SELECT '{upload}', i, 10, 'etag', {NOW}, {first} + i - 1 FROM n"
        ))
        .await;
    let parts = f.parts("key", &upload).await;
    assert_eq!(parts.len(), 10_000);
    f.meta.complete_upload(&f.complete("key", &upload, parts)).await.unwrap();
    let resolved = f.meta.resolve(BUCKET, "key", None, ReadRange::Part(10_000)).await.unwrap();
    assert_eq!((resolved.range, resolved.object.parts, resolved.extents.len()), (99_990..100_000, Some(10_000), 1));
    f.check().await;
    f.delete("key").await;
    assert_eq!(f.fold_all().await, Folded { rows: 1, data: 1, chunks: 1 });
}

async fn idle_uploads_expire(f: &Fixture) {
    let day = 24 * 3600 * 1000;
    let mut uploads = Vec::new();
    for (key, started, newest) in [("idle", 9, Some(8)), ("never", 8, None), ("busy", 9, Some(1)), ("fresh", 1, None)] {
        let upload = new_upload(key, NOW - started * day);
        f.meta.create_upload(&upload).await.unwrap();
        if let Some(newest) = newest {
            let old = PartCommit { modified: NOW - started * day, ..f.part(key, &upload.id, 2, &[10]) };
            f.meta.commit_part(&old).await.unwrap();
            let part = PartCommit { modified: NOW - newest * day, ..f.part(key, &upload.id, 1, &[10]) };
            f.meta.commit_part(&part).await.unwrap();
        }
        uploads.push(upload.id);
    }
    let lease = f.lease("expiry").await;
    let expire = async |limit| f.meta.expire_uploads(&lease, NOW - 7 * day, NOW, limit).await.unwrap();
    assert_eq!((expire(1).await, expire(10).await, expire(10).await), (1, 1, 0));
    let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
    let left: Vec<_> = f.meta.list_uploads(&query, None).await.unwrap().entries;
    assert_eq!(left.iter().map(|upload| &upload.id).collect::<Vec<_>>(), [&uploads[2], &uploads[3]]);
    assert_eq!(f.fold_all().await.chunks, 2);
    f.meta.release_lease(&lease, f.instance).await.unwrap();
    assert!(matches!(f.meta.expire_uploads(&lease, NOW, NOW, 1).await, Err(Error::LeaseLost(_))));
    let _ = f.meta.acquire_lease("expiry", f.instance, Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(matches!(f.meta.expire_uploads(&lease, NOW, NOW, 1).await, Err(Error::LeaseLost(_))));
}

async fn uploads_keep_their_template(f: &Fixture) {
    let mut upload = new_upload("key", NOW);
    upload.template.headers.content_type = Some("image/png".into());
    upload.template.tags.insert("a".into(), "b".into());
    upload.template.checksum = Some((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject));
    f.meta.create_upload(&upload).await.unwrap();
    let stored = f.meta.upload(BUCKET, "key", &upload.id).await.unwrap();
    assert_eq!((&stored.id, &stored.template, stored.started), (&upload.id, &upload.template, NOW));
    let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
    assert_eq!(f.meta.list_uploads(&query, None).await.unwrap().entries, [stored]);
    assert!(matches!(f.meta.upload("none", "key", &upload.id).await, Err(Error::NoSuchBucket(_))));
    assert!(matches!(f.meta.upload(BUCKET, "kez", &upload.id).await, Err(Error::NoSuchUpload { .. })));
    let nowhere = NewUpload { bucket: "none".into(), ..new_upload("key", NOW) };
    assert!(matches!(f.meta.create_upload(&nowhere).await, Err(Error::NoSuchBucket(_))));
}
