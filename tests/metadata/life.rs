//! Connecting, migrating, losing the database and getting it back.

use std::time::Duration;

use ninefold::metadata::*;

use crate::fixture::*;
use crate::locks::Session;
use crate::postgres::{Cluster, Database};

on_both!(
    a_deployment_has_one_id,
    a_newer_schema_is_refused,
    a_changed_schema_is_refused,
    tables_are_made_once_however_many_come_at_once,
);

async fn a_deployment_has_one_id(f: &Fixture) {
    assert_eq!(f.meta.deployment("first").await.unwrap(), "first");
    assert_eq!(f.meta.deployment("second").await.unwrap(), "first");
    let again = Metadata::connect(&f.config).await.unwrap();
    assert_eq!(again.deployment("third").await.unwrap(), "first");
    again.ping().await.unwrap();
    again.close().await;
    assert!(matches!(again.ping().await, Err(Error::Unavailable(_))));
    f.meta.ping().await.unwrap();
}

async fn a_newer_schema_is_refused(f: &Fixture) {
    f.raw
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 99, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    match Metadata::connect(&f.config).await {
        Err(Error::Unusable(why)) => assert!(why.contains("version 99") && why.contains("newer"), "{why}"),
        other => panic!("{other:?}"),
    }
}

async fn a_changed_schema_is_refused(f: &Fixture) {
    let other = if matches!(f.raw, Raw::Postgres(_)) { "'\\x00'" } else { "x'00'" };
    f.raw.execute(&format!("UPDATE _sqlx_migrations SET checksum = {other}")).await;
    assert!(matches!(Metadata::connect(&f.config).await, Err(Error::Unusable(_))));
}

async fn tables_are_made_once_however_many_come_at_once(f: &Fixture) {
    let (url, _kept): (String, Box<dyn std::any::Any>) = match &f.raw {
        Raw::Postgres(_) => {
            let database = Database::new().await;
            (database.url.clone(), Box::new(database))
        }
        Raw::Sqlite(_) => {
            let directory = tempfile::tempdir().unwrap();
            (format!("sqlite:{}", directory.path().join("fresh.sqlite").display()), Box::new(directory))
        }
    };
    let ids = all((0..5).map(|i| {
        let config = config(&url);
        async move {
            let meta = Metadata::connect(&config).await.unwrap();
            let id = meta.deployment(&format!("id-{i}")).await.unwrap();
            meta.close().await;
            id
        }
    }))
    .await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn what_cannot_work_is_unusable() {
    let directory = tempfile::tempdir().unwrap();
    for url in
        ["mysql://host/db".into(), "postgres://host:port/db".into(), format!("sqlite:{}", directory.path().display())]
    {
        let result = Metadata::connect(&config(&url)).await;
        assert!(matches!(result, Err(Error::Unusable(_))), "{url}: {result:?}");
    }
    let database = Database::new().await;
    let result = Metadata::connect(&config(&format!("{}_not", database.url))).await;
    assert!(matches!(result, Err(Error::Unusable(_))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_sync_is_refused() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&["fsync=off"])).await.unwrap();
    match Metadata::connect(&config(&cluster.create_database().await)).await {
        Err(Error::Unusable(why)) => assert!(why.contains("fsync"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_went_away_is_recovered_from() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let url = cluster.create_database().await;
    let quick = DatabaseConfig { connect_timeout: Duration::from_secs(1), ..config(&url) };
    let meta = Metadata::connect(&quick).await.unwrap();
    let bucket = |name: &str| NewBucket {
        name: name.into(),
        region: "r".into(),
        owner: "o".into(),
        lock: false,
        configs: Vec::new(),
        created: NOW,
    };
    meta.create_bucket(&bucket("before")).await.unwrap();
    // Several connections, so that several are dead afterwards.
    all((0..8).map(|_| {
        let meta = meta.clone();
        async move { meta.ping().await.unwrap() }
    }))
    .await;

    tokio::task::block_in_place(|| cluster.stop());
    assert!(matches!(meta.ping().await, Err(Error::Unavailable(_))));
    assert!(matches!(meta.bucket("before").await, Err(Error::Unavailable(_))));
    assert!(matches!(meta.create_bucket(&bucket("during")).await, Err(Error::Unavailable(_))));
    assert!(matches!(Metadata::connect(&quick).await, Err(Error::Unavailable(_))));

    tokio::task::block_in_place(|| cluster.start_again());
    meta.ping().await.unwrap();
    meta.create_bucket(&bucket("after")).await.unwrap();
    let query = BucketQuery { owner: "o".into(), limit: 10, ..BucketQuery::default() };
    let names: Vec<_> = meta.list_buckets(&query).await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["after", "before"]);

    // Idle connections die unseen while the server restarts; whoever comes next does not notice.
    all((0..8).map(|_| {
        let meta = meta.clone();
        async move { meta.ping().await.unwrap() }
    }))
    .await;
    tokio::task::block_in_place(|| {
        cluster.stop();
        cluster.start_again();
    });
    meta.create_bucket(&bucket("again")).await.unwrap();
    meta.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_never_confirm_what_is_not_synced() {
    let f = Fixture::postgres().await;
    let mut session = Session::new(&f).await;
    let database = f.config.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    session.run(&format!("ALTER DATABASE {database} SET synchronous_commit = off")).await;
    session.run(&format!("ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")).await;
    session
        .run(
            "CREATE TABLE seen (setting TEXT); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO seen SELECT current_setting(name) FROM unnest(ARRAY['synchronous_commit', \
                     'transaction_isolation', 'statement_timeout', 'lock_timeout', \
                     'idle_in_transaction_session_timeout']) AS name; \
                 RETURN NEW; END $$; \
             CREATE TRIGGER note AFTER INSERT ON buckets FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
    let meta = Metadata::connect(&f.config).await.unwrap();
    let bucket = NewBucket {
        name: "b2".into(),
        region: "r".into(),
        owner: "o".into(),
        lock: false,
        configs: Vec::new(),
        created: NOW,
    };
    meta.create_bucket(&bucket).await.unwrap();
    let seen = "SELECT COUNT(*) FROM seen WHERE setting = ";
    assert_eq!(f.raw.int(&format!("{seen} 'on'")).await, 1);
    assert_eq!(f.raw.int(&format!("{seen} 'read committed'")).await, 1);
    assert_eq!(f.raw.int(&format!("{seen} '30s'")).await, 2);
    assert_eq!(
        f.raw.int(&format!("{seen} '10s'")).await,
        1,
        "who stops in a transaction is gone before others give up"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_too_long_for_a_lock_is_told_and_changes_nothing() {
    let f = Fixture::postgres().await;
    let impatient = DatabaseConfig { statement_timeout: Duration::from_millis(200), ..f.config.clone() };
    let meta = Metadata::connect(&impatient).await.unwrap();
    let row = Session::lock(&f, "SELECT 1 FROM buckets FOR UPDATE").await;
    let result = meta.commit_put(&f.put("key", &[10])).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    row.roll_back().await;
    assert!(matches!(f.resolve("key").await, Err(Error::NoSuchKey { .. })));
    meta.commit_put(&f.put("key", &[10])).await.unwrap();
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_readers_do_not_wait_for_the_writer() {
    let f = Fixture::sqlite().await;
    f.commit("key", &[10]).await;
    let Raw::Sqlite(pool) = &f.raw else { panic!() };
    let writer = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(f.resolve("key").await.unwrap().object.size, 10);
    let put = f.put("key", &[20]);
    let meta = f.meta.clone();
    let put = tokio::spawn(async move { meta.commit_put(&put).await });
    assert_eq!(f.resolve("key").await.unwrap().object.size, 10);
    writer.rollback().await.unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(f.resolve("key").await.unwrap().object.size, 20);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
    assert_eq!(mode, "wal");
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_leave_no_transaction_behind() {
    for f in [Fixture::postgres().await, Fixture::sqlite().await] {
        for patience in 0..40u64 {
            let put = f.put("key", &[10]);
            let put = f.meta.commit_put(&put);
            // Cut short wherever it happens to be.
            let _ = tokio::time::timeout(Duration::from_micros(patience * 100), put).await;
        }
        f.commit("key", &[20]).await;
        f.meta.delete(BUCKET, &[DeleteKey { key: "key".into(), ..DeleteKey::default() }], "owner", NOW).await.unwrap();
        f.fold_all().await;
        f.check().await;
        f.meta.delete_bucket(BUCKET, NOW).await.unwrap();
    }
}
