use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use ninefold::instance::Instance;
use ninefold::maintenance::Reclaim;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};
use crate::postgres::Cluster;

on_both! {
    async fn what_was_acknowledged_is_there_after_a_restart(f: Fixture) {
        let content = bytes(5 * MIB);
        f.put("k", content.clone()).await;
        let created = f.s3.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        let f = f.restart().await;
        assert!(f.get("k").await == content);
        let upload = created.upload_id().unwrap();
        f.s3.upload_part().bucket(BUCKET).key("m").upload_id(upload).part_number(1).body(ByteStream::from_static(b"x")).send().await.unwrap();
        f.put("l", content.clone()).await;
        assert!(f.get("l").await == content);
    }

    async fn overwritten_and_deleted_data_goes_after_its_grace(f: Fixture) {
        f.put("k", bytes(100_000)).await;
        f.put("k", bytes(200_000)).await;
        f.run(&Reclaim::new(f.store().clone(), Duration::from_secs(3600))).await;
        assert_eq!(f.files().len(), 18, "readers may still be at the old bytes");
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), 9);
        assert_eq!(f.get("k").await, bytes(200_000));
    }

    async fn a_read_that_has_begun_keeps_the_files_of_what_is_deleted(f: Fixture) {
        f.put("k", bytes(9 * MIB)).await;
        let got = f.s3.get_object().bucket(BUCKET).key("k").send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        let reclaim = Reclaim::new(f.store().clone(), Duration::ZERO);
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 3 * 9, "the reader is not through");
        assert!(got.body.collect().await.unwrap().to_vec() == bytes(9 * MIB));
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 0);
    }

    async fn a_read_that_lasts_too_long_is_cut_only_if_its_bytes_are_deleted(f: Fixture) {
        let f = f.restart_with(|config| config.chunks.read_limit = Duration::ZERO).await;
        f.put("k", bytes(9 * MIB)).await;
        assert!(f.get("k").await == bytes(9 * MIB), "nobody had deleted anything");
        let got = f.s3.get_object().bucket(BUCKET).key("k").send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        // Dead, and still there: who is over the limit is not to rely on it.
        f.run(&Reclaim::new(f.store().clone(), Duration::from_secs(3600))).await;
        assert_eq!(f.files().len(), 3 * 9);
        assert!(got.body.collect().await.is_err());
    }

    async fn space_follows_what_is_deleted(f: Fixture) {
        let on_disk = || f.files().iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
        for n in 0..20 {
            f.put(&n.to_string(), bytes(MIB)).await;
        }
        let full = on_disk();
        for n in 0..18 {
            f.s3.delete_object().bucket(BUCKET).key(n.to_string()).send().await.unwrap();
        }
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(on_disk() * 10, full);
        assert_eq!(f.get("18").await, bytes(MIB));
    }

    async fn an_instance_that_was_judged_dead_commits_nothing_and_starts_again(f: Fixture) {
        f.put("k", "1").await;
        let dead = f.instance.heartbeat().instance();
        f.store().metadata().close_instance(dead).await.unwrap();
        let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"2")).send().await;
        assert_eq!(error(put), (503, "ServiceUnavailable".into()));
        assert_eq!(f.get("k").await, b"1");
        assert_eq!(f.files().len(), 9, "what could not be committed is removed");
        // However many find that out, there is one new instance.
        let heartbeat = f.instance.heartbeat();
        tokio::join!(heartbeat.beat(), heartbeat.beat(), heartbeat.beat());
        assert_ne!(heartbeat.instance(), dead);
        assert_eq!(f.store().metadata().instances().await.unwrap().len(), 1);
        f.put("k", "3").await;
        assert_eq!(f.get("k").await, b"3");
    }

    async fn an_instance_that_was_not_heard_of_in_time_writes_and_removes_nothing(f: Fixture) {
        f.put("k", "1").await;
        f.put("deleted", bytes(100_000)).await;
        f.take(9..=9).await;
        f.s3.delete_object().bucket(BUCKET).key("deleted").send().await.unwrap();
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        f.bring_back(9..=9).await;
        let f = f.restart_with(|config| config.maintenance.instance_timeout = Duration::ZERO).await;
        let files = f.files().len();
        assert_eq!(files, 9 + 1, "a file waits for its removal");
        for len in [1, 100_000] {
            let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from(bytes(len))).send().await;
            assert_eq!(error(put), (503, "ServiceUnavailable".into()), "{len} bytes");
        }
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), files);
        assert_eq!(f.get("k").await, b"1", "it may well be read");
    }

    async fn nobody_is_judged_before_the_judge_has_seen_the_database_for_a_whole_time_out(f: Fixture) {
        let timeout = Duration::from_secs(3);
        let f = f.restart_with(|config| {
            config.maintenance.instance_timeout = timeout;
            config.maintenance.heartbeat = Duration::from_secs(3600);
        }).await;
        tokio::time::sleep(timeout * 2).await;
        // It is silent, and who comes now may have come when the database did.
        let judge = Instance::open(f.config.clone()).await.unwrap();
        assert_eq!(f.store().metadata().instances().await.unwrap().len(), 2);
        tokio::time::sleep(timeout).await;
        judge.heartbeat().beat().await;
        assert_eq!(f.store().metadata().instances().await.unwrap().len(), 1);
        judge.close().await;
    }

    async fn writers_of_one_key_leave_one_whole_object(f: Fixture) {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..16usize {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                let body = ByteStream::from(bytes(100_000 + n));
                s3.put_object().bucket(BUCKET).key("k").body(body).send().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let got = f.get("k").await;
        assert!((100_000..100_016).contains(&got.len()) && got == bytes(got.len()));
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), 9);
    }

    async fn only_one_of_many_creates_if_absent(f: Fixture) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                let put = s3.put_object().bucket(BUCKET).key("k").if_none_match("*");
                put.body(ByteStream::from_static(b"x")).send().await.is_ok()
            });
        }
        let created = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
        assert_eq!(created, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_a_503_and_recovered_from_without_restart() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let url = cluster.create_database().await;
    let f = Fixture::at(url).await;
    f.put("k", "1").await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.stop();
        cluster
    });
    let cluster = cluster.await.unwrap();
    let get = f.s3.get_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(error(get), (503, "ServiceUnavailable".into()));
    let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"2")).send().await;
    assert_eq!(error(put), (503, "ServiceUnavailable".into()));
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.start_again();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    assert_eq!(f.get("k").await, b"1");
    f.put("k", "3").await;
    assert_eq!(f.get("k").await, b"3");
}
