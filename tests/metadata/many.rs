//! A key with very many versions costs no more than one with few: what PostgreSQL reads of the tables for an operation is counted, and does
//! not grow with them.

use std::time::Duration;

use ninefold::metadata::*;

use crate::fixture::*;
use crate::packed::{Pack, put};

/// Versions of one key, and delete markers of another: far more than anything here may read.
const MANY: i64 = 400;
/// What an operation on one version may read, whatever there is.
const FEW: i64 = 40;
/// Versions on a page.
const PAGE: u32 = 20;
/// Versions moved by one batch.
const MOVED: usize = 20;

/// Ends the sessions that began after some microsecond: what a session has read is counted at its end.
async fn end_sessions(f: &Fixture, began: i64) {
    let sessions = format!(
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ninefold' \
         AND EXTRACT(EPOCH FROM backend_start) * 1000000 > {began}"
    );
    f.raw.int(&format!("SELECT COUNT(pg_terminate_backend(pid)) {sessions}")).await;
    while f.raw.int(&format!("SELECT COUNT(*) {sessions}")).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many rows of objects and versions an operation has PostgreSQL read, in the tables or through indexes.
async fn rows_read(f: &Fixture, operation: impl AsyncFnOnce(&Metadata)) -> i64 {
    let tables = "relname IN ('objects', 'versions')";
    let read = format!(
        "SELECT CAST((SELECT SUM(seq_tup_read) FROM pg_stat_user_tables WHERE {tables}) \
         + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE {tables}) AS BIGINT)"
    );
    let clock = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let (before, began) = (f.raw.int(&read).await, f.raw.int(clock).await);
    let meta = Metadata::connect(&f.config).await.unwrap();
    operation(&meta).await;
    end_sessions(f, began).await;
    f.raw.int(&read).await - before
}

async fn delete(meta: &Metadata, key: &str, version: Option<&VersionId>) {
    let keys = [DeleteKey { key: key.into(), version: version.cloned(), ..DeleteKey::default() }];
    meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_does_not_grow_with_a_keys_versions() {
    let f = &Fixture::postgres().await;
    f.meta.change_bucket(BUCKET, &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
    let (mut old, mut new) = (Pack::new(f), Pack::new(f));
    let mut made = Vec::new();
    let mut hidden = Vec::new();
    for _ in 0..MANY {
        let write = put("p/many", Some(old.extent(10)));
        made.push(f.meta.commit_packed(&old.commit(vec![write])).await.unwrap().pop().unwrap().unwrap().unwrap());
    }
    let markers = vec![DeleteKey { key: "p/hidden".into(), ..DeleteKey::default() }; MANY as usize];
    for deleted in f.meta.delete(BUCKET, &markers, "owner", NOW).await.unwrap() {
        hidden.push(deleted.unwrap().version.unwrap());
    }
    // What this has read is to be counted before anything else is.
    end_sessions(f, 0).await;
    while f.meta.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    f.raw.execute("ANALYZE").await;

    let middle = made.len() / 2;
    macro_rules! reads {
        ($what:expr, $most:expr, |$meta:ident| $operation:expr) => {{
            let read = rows_read(f, async |$meta| {
                $operation;
            })
            .await;
            assert!((1..=$most).contains(&read), "{}: {read} rows were read, not up to {}", $what, $most);
        }};
    }
    reads!("a put", FEW, |meta| meta.commit_put(&f.put("p/many", &[])).await.unwrap());
    reads!("a small put", FEW, |meta| {
        let write = put("p/many", Some(new.extent(10)));
        meta.commit_packed(&new.commit(vec![write])).await.unwrap().pop().unwrap().unwrap()
    });
    reads!("a put over delete markers", FEW, |meta| meta.commit_put(&f.put("p/hidden", &[])).await.unwrap());
    reads!("a deletion", FEW, |meta| delete(meta, "p/hidden", None).await);
    for (key, versions) in [("p/many", &made), ("p/hidden", &hidden)] {
        for (which, at) in [("the oldest", 0), ("one in the middle", middle), ("one of the newest", made.len() - 1)] {
            let what = format!("deleting {which} of {key}");
            reads!(what, FEW, |meta| delete(meta, key, Some(&versions[at])).await);
        }
    }
    reads!("a read", FEW, |meta| meta.resolve(BUCKET, "p/many", None, ReadRange::Whole).await.unwrap());
    reads!("a read of what is hidden", FEW, |meta| {
        let found = meta.resolve(BUCKET, "p/hidden", None, ReadRange::Whole).await;
        assert!(matches!(found, Err(Error::DeleteMarker { .. })), "{found:?}");
    });
    let version = &made[middle + 1];
    reads!("a read of a version", FEW, |meta| {
        meta.resolve(BUCKET, "p/many", Some(version), ReadRange::Whole).await.unwrap()
    });
    reads!("tagging a version", FEW, |meta| {
        let change = VersionChange::Tags(Tags::new());
        meta.change_version(BUCKET, "p/many", Some(version), &change, NOW).await.unwrap()
    });

    // A page costs what it shows, of versions as of markers, and a common prefix costs one step.
    let query = ListQuery { bucket: BUCKET.into(), limit: PAGE, ..ListQuery::default() };
    let most = i64::from(PAGE) * 8;
    for (key, after) in [("p/hidden", &hidden[middle + 1]), ("p/many", version)] {
        let after_key = ListQuery { after: key.into(), ..query.clone() };
        reads!(format!("a page of versions of {key}"), most, |meta| {
            let page = meta.list_versions(&after_key, Some(after)).await.unwrap();
            assert_eq!(page.entries.len(), PAGE as usize);
        });
        let alone = ListQuery { prefix: key.into(), delimiter: "/".into(), ..query.clone() };
        reads!(format!("a page of versions of {key}, with a delimiter"), most, |meta| {
            let page = meta.list_versions(&alone, None).await.unwrap();
            assert_eq!(page.entries.len(), PAGE as usize);
        });
    }
    let folded = ListQuery { delimiter: "/".into(), ..query };
    reads!("common prefixes of versions", FEW, |meta| {
        let page = meta.list_versions(&folded, None).await.unwrap();
        assert_eq!((page.common_prefixes.len(), page.truncated), (1, false));
    });
    reads!("common prefixes of objects", FEW, |meta| {
        assert_eq!(meta.list_objects(&folded).await.unwrap().common_prefixes.len(), 1);
    });

    // What compaction moves it finds again by its place.
    let entries = f.meta.packed_entries(old.id(), MOVED as u32).await.unwrap();
    assert_eq!(entries.len(), MOVED);
    let moves = entries.into_iter().map(|entry| {
        let (from, to) = (entry.placed.extent, new.extent(10));
        PackedWrite::Move { owner: entry.owner, from, to, modified: NOW }
    });
    let moves: Vec<_> = moves.collect();
    let commit = new.commit(moves);
    reads!("moving versions", MOVED as i64 * 8, |meta| {
        for moved in meta.commit_packed(&commit).await.unwrap() {
            moved.unwrap();
        }
    });
    f.check().await;
}
