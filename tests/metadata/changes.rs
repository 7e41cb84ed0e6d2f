//! What SQLite's transactions change is logged so that it can be done again, on either database.

use std::collections::BTreeMap;

use ninefold::metadata::*;

use crate::fixture::{BUCKET, Fixture, NOW, config, new_upload};
use crate::postgres::Database;

/// All rows of which snapshots are made, table by table.
async fn dump(meta: &Metadata) -> BTreeMap<&'static str, Vec<Vec<Cell>>> {
    let mut dump = meta.begin_dump().await.unwrap();
    let mut tables: BTreeMap<&'static str, Vec<Vec<Cell>>> = BTreeMap::new();
    while let Some(page) = dump.page().await.unwrap() {
        tables.entry(page.table.name).or_default().extend(page.rows);
    }
    tables
}

/// Some of everything, and then some again: rows come, change, move to other keys and go.
async fn live(f: &Fixture) {
    f.bucket("other").await;
    for name in [BUCKET, "other"] {
        f.meta.set_quota(&QuotaOf::Bucket(name.into()), QuotaLimits::default()).await.unwrap();
    }
    f.meta.set_bucket_config("other", ConfigKind::Tagging, Some("{\"a\":\"ä\\u0000\"}")).await.unwrap();
    for (key, lens) in [("a", &[10_u64, 20][..]), ("b", &[5]), ("empty", &[]), ("ü \" \\ \n", &[7])] {
        f.commit(key, lens).await;
    }
    let tags = VersionChange::Tags([("k".to_owned(), "v".to_owned())].into());
    f.meta.change_version(BUCKET, "b", None, &tags, NOW).await.unwrap();
    f.meta.commit_copy(&f.copy("a", "copy").await).await.unwrap();
    f.commit("a", &[30]).await;
    f.delete("b").await;
    let upload = f.upload("m").await;
    for number in [1, 2, 3] {
        f.meta.commit_part(&f.part("m", &upload, number, &[100 + u64::from(number)])).await.unwrap();
    }
    f.meta.commit_part(&f.part("m", &upload, 2, &[50, 60])).await.unwrap();
    let parts = f.parts("m", &upload).await;
    f.meta.complete_upload(&f.complete("m", &upload, parts)).await.unwrap();
    let aborted = f.upload("x").await;
    f.meta.commit_part(&f.part("x", &aborted, 1, &[9])).await.unwrap();
    f.meta.abort_upload(BUCKET, "x", &aborted, NOW).await.unwrap();
    f.meta.create_upload(&new_upload("open", NOW)).await.unwrap();
    f.fold_all().await;
    let lease = f.lease("reclaim").await;
    for chunk in f.dead(2).await {
        f.meta.forget_chunk(&lease, &chunk, &[]).await.unwrap();
    }
    f.meta.prune_commits(&lease, std::time::Duration::ZERO, 100).await.unwrap();
    f.meta.delete_bucket("other", NOW).await.unwrap();
    f.bucket("other").await;
    // What is refused changes nothing, and is not logged.
    let absent = WriteCondition { none_of: Some(vec!["*".into()]), ..WriteCondition::default() };
    let refused = PutCommit { condition: absent, ..f.put("a", &[8]) };
    f.meta.commit_put(&refused).await.unwrap_err();
}

/// A database with these rows, in which this was done again.
async fn done_again(
    meta: &Metadata,
    before: &BTreeMap<&'static str, Vec<Vec<Cell>>>,
    records: &[ChangeRecord],
) -> Restoration {
    let mut restoration = meta.begin_restore().await.unwrap();
    for table in TABLES {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        restoration.write(table, &columns, before.get(table.name).map_or(&[], Vec::as_slice)).await.unwrap();
    }
    for record in records {
        restoration.replay(&read_changes(&record.rows).unwrap()).await.unwrap();
    }
    restoration
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_again_comes_to_the_same() {
    let f = Fixture::sqlite().await;
    f.meta.deployment("deployment").await.unwrap();
    f.commit("before", &[1000]).await;
    let feed = f.meta.log_changes().await.unwrap().expect("SQLite is logged");
    let before = dump(&f.meta).await;
    live(&f).await;
    let after = dump(&f.meta).await;
    let (records, lost) = feed.take();
    assert!(!lost && records.len() > 15, "{}", records.len());
    assert!(records.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "none is missing");
    assert!(feed.take().0.is_empty());

    let directory = tempfile::tempdir().unwrap();
    let sqlite = config(&format!("sqlite:{}", directory.path().join("restored.sqlite").display()));
    let server = Database::new().await;
    for target in [sqlite, config(&server.url)] {
        let meta = Metadata::connect(&target).await.unwrap();
        done_again(&meta, &before, &records).await.commit().await.unwrap();
        let restored = dump(&meta).await;
        for table in TABLES {
            assert_eq!(restored.get(table.name), after.get(table.name), "{} of {}", table.name, target.url);
        }
        meta.close().await;
    }
}

/// What a command does to a quota beside a server is in no log; what the server adds to it is.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_that_were_not_logged_are_counted_anew() {
    let f = Fixture::sqlite().await;
    f.meta.deployment("deployment").await.unwrap();
    f.commit("before", &[1000]).await;
    f.bucket("other").await;
    let command = Metadata::connect(&f.config).await.unwrap();
    let of = [BUCKET, "other"].map(|name| QuotaOf::Bucket(name.into()));
    for of in &of {
        command.set_quota(of, QuotaLimits::default()).await.unwrap();
    }
    let feed = f.meta.log_changes().await.unwrap().expect("SQLite is logged");
    let before = dump(&f.meta).await;
    let limits = QuotaLimits { bytes: Some(1500), objects: None };
    for of in &of {
        command.remove_quota(of).await.unwrap();
        command.set_quota(of, limits).await.unwrap();
    }
    f.commit("after", &[400]).await;
    f.meta.delete_bucket("other", NOW).await.unwrap();
    let records = feed.take().0;

    let directory = tempfile::tempdir().unwrap();
    let sqlite = config(&format!("sqlite:{}", directory.path().join("restored.sqlite").display()));
    let server = Database::new().await;
    for target in [sqlite, config(&server.url)] {
        let meta = Metadata::connect(&target).await.unwrap();
        let mut restoration = done_again(&meta, &before, &records).await;
        restoration.close_old_life().await.unwrap();
        restoration.commit().await.unwrap();
        let used = Some(QuotaUse { bytes: 1400, objects: 2 });
        assert_eq!(meta.quotas().await.unwrap(), [Quota { of: of[0].clone(), limits, used }]);
        assert_eq!(meta.check_quotas().await.unwrap(), []);
        meta.set_quota(&of[0], QuotaLimits::default()).await.unwrap();
        meta.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_logs_of_its_own() {
    let f = Fixture::postgres().await;
    assert!(f.meta.log_changes().await.unwrap().is_none());
}
