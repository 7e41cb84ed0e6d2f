use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use ninefold::maintenance::{Compact, Reclaim};
use tokio::task::JoinSet;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

/// Lengths around everything that matters to packing.
const LENGTHS: [usize; 12] = [0, 1, 5, 6, 7, 100, 1000, 1 << 10, 4095, 16 << 10, (64 << 10) - 1, 64 << 10];

impl Fixture {
    /// Puts `count` objects of assorted lengths, all at once; answers their keys and lengths.
    async fn put_many(&self, prefix: &str, count: usize) -> BTreeMap<String, usize> {
        let mut tasks = JoinSet::new();
        let mut all = BTreeMap::new();
        for n in 0..count {
            let (s3, key, len) = (self.s3.clone(), format!("{prefix}/{n}"), LENGTHS[n % LENGTHS.len()] + n / 100);
            all.insert(key.clone(), len.min(64 << 10));
            tasks.spawn(async move {
                let body = ByteStream::from(bytes(len.min(64 << 10)));
                s3.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        all
    }

    async fn assert_all(&self, objects: &BTreeMap<String, usize>) {
        for (key, len) in objects {
            assert!(self.get(key).await == bytes(*len), "{key} of {len} bytes");
        }
    }

    fn bytes_on_disk(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }

    /// Ends the open chunks, and lets maintenance do all that it will ever do.
    pub async fn settle(&self) {
        for _ in 0..2 {
            self.store().close_packs().await;
            self.run(&Reclaim::new(self.store().clone(), Duration::ZERO)).await;
            self.run(&Compact::new(self.store().clone())).await;
            self.run(&Reclaim::new(self.store().clone(), Duration::ZERO)).await;
        }
    }
}

on_both! {
    async fn many_small_objects_share_a_few_files(f: Fixture) {
        let objects = f.put_many("a", 240).await;
        assert!(f.files().len() <= 2 * 9, "{} files", f.files().len());
        f.assert_all(&objects).await;
        let range = f.s3.get_object().bucket(BUCKET).key("a/11").range("bytes=30000-30009").send().await.unwrap();
        assert_eq!(range.body.collect().await.unwrap().to_vec(), bytes(64 << 10)[30_000..30_010]);
        let suffix = f.s3.get_object().bucket(BUCKET).key("a/5").range("bytes=-3").send().await.unwrap();
        assert_eq!(suffix.body.collect().await.unwrap().to_vec(), bytes(100)[97..]);
        // What is open when the process ends is closed, and never resumed.
        let files = f.files().len();
        let f = f.restart().await;
        f.assert_all(&objects).await;
        f.put("later", "x").await;
        assert_eq!(f.files().len(), files + 9);
        f.take(1..=3).await;
        f.assert_all(&objects).await;
        assert_eq!(f.get("later").await, b"x");
        assert_eq!(f.store().metadata().heal_queue_len().await.unwrap(), 0, "nothing is missing of what is only away");
    }

    async fn flipped_bytes_are_never_seen(f: Fixture) {
        let objects = f.put_many("a", 60).await;
        for file in f.files().iter().filter(|file| ["/v2/", "/v5/", "/v9/"].iter().any(|v| file.to_str().unwrap().contains(v))) {
            let mut content = std::fs::read(file).unwrap();
            content[4096..].iter_mut().step_by(97).for_each(|byte| *byte ^= 1);
            std::fs::write(file, content).unwrap();
        }
        f.assert_all(&objects).await;
        // Noted beside the reads, which do not wait for it.
        let noted = async {
            while f.store().metadata().heal_queue_len().await.unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), noted).await.expect("what was found waits for healing");
    }

    async fn writes_of_a_batch_fail_for_themselves(f: Fixture) {
        f.put("taken", "there").await;
        let mut tasks = JoinSet::new();
        for n in 0..60 {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                let put = s3.put_object().body(ByteStream::from(bytes(500 + n)));
                let outcome = match n % 3 {
                    0 => put.bucket(BUCKET).key(format!("good/{n}")).send().await,
                    1 => put.bucket("nowhere").key(format!("bad/{n}")).send().await,
                    _ => put.bucket(BUCKET).key("taken").if_none_match("*").send().await,
                };
                (n, outcome)
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (n, outcome) = done.unwrap();
            match n % 3 {
                0 => drop(outcome.unwrap()),
                1 => assert_eq!(error(outcome), (404, "NoSuchBucket".into())),
                _ => assert_eq!(error(outcome), (412, "PreconditionFailed".into())),
            }
        }
        assert_eq!(f.get("taken").await, b"there");
        for n in (0..60).step_by(3) {
            assert!(f.get(&format!("good/{n}")).await == bytes(500 + n));
        }
    }

    async fn of_all_who_create_one_key_one_succeeds(f: Fixture) {
        let mut tasks = JoinSet::new();
        for n in 0..32usize {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                let put = s3.put_object().bucket(BUCKET).key("k").if_none_match("*").body(ByteStream::from(bytes(n + 1)));
                put.send().await.is_ok().then_some(n)
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = tasks.join_next().await {
            winners.extend(done.unwrap());
        }
        assert_eq!(winners.len(), 1);
        assert!(f.get("k").await == bytes(winners[0] + 1));
    }

    async fn space_of_small_objects_comes_back(f: Fixture) {
        let objects = f.put_many("a", 400).await;
        let full = f.bytes_on_disk();
        let mut kept = BTreeMap::new();
        for (n, (key, len)) in objects.iter().enumerate() {
            if n % 10 == 0 {
                kept.insert(key.clone(), *len);
            } else {
                f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
            }
        }
        f.settle().await;
        let left = f.bytes_on_disk();
        assert!(left < full / 4, "{left} of {full} bytes are left of a tenth of the objects");
        f.assert_all(&kept).await;
        let f = f.restart().await;
        f.assert_all(&kept).await;
        for key in kept.keys() {
            f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        f.settle().await;
        assert_eq!(f.files(), Vec::<std::path::PathBuf>::new());
    }

    async fn overwriting_while_chunks_are_compacted_loses_nothing(f: Fixture) {
        f.put_many("a", 300).await;
        f.store().close_packs().await;
        let mut expected = BTreeMap::new();
        for n in 0..300 {
            if n % 3 > 0 {
                f.s3.delete_object().bucket(BUCKET).key(format!("a/{n}")).send().await.unwrap();
            }
        }
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        let compact = async {
            for _ in 0..3 {
                f.run(&Compact::new(f.store().clone())).await;
            }
        };
        let overwrite = async {
            for n in (0..300).step_by(3) {
                let len = if n % 2 == 0 { n + 1 } else { LENGTHS[n % LENGTHS.len()] + n / 100 };
                if n % 2 == 0 {
                    f.put(&format!("a/{n}"), bytes(len)).await;
                }
                expected.insert(format!("a/{n}"), len.min(64 << 10));
            }
        };
        tokio::join!(compact, overwrite);
        f.assert_all(&expected).await;
        f.settle().await;
        f.assert_all(&expected).await;
    }

    async fn a_volume_lost_under_an_open_chunk_is_left_behind(f: Fixture) {
        f.put("before", bytes(1000)).await;
        f.take(9..=9).await;
        // The chunk has lost a shard with this write, and is not added to any more.
        f.put("during", bytes(2000)).await;
        f.put("after", bytes(3000)).await;
        let queued = f.store().metadata().heal_queue_len().await.unwrap();
        assert!(queued >= 1, "the lost shards wait for healing");
        f.bring_back(9..=9).await;
        f.take(1..=3).await;
        for (key, len) in [("before", 1000), ("during", 2000), ("after", 3000)] {
            let got = f.s3.get_object().bucket(BUCKET).key(key).send().await;
            // Four shards are not there if the one on volume 9 was never written.
            if let Ok(got) = got {
                assert!(got.body.collect().await.unwrap().to_vec() == bytes(len), "{key}");
            } else {
                assert_ne!(key, "before", "all nine of its shards were written");
            }
        }
        f.bring_back(1..=3).await;
        for (key, len) in [("before", 1000), ("during", 2000), ("after", 3000)] {
            assert!(f.get(key).await == bytes(len), "{key}");
        }
    }

    async fn with_four_volumes_gone_small_writes_fail_cleanly(f: Fixture) {
        f.put("k", "first").await;
        f.take(1..=4).await;
        let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"second")).send().await;
        assert_eq!(error(put), (503, "ServiceUnavailable".into()));
        let put = f.s3.put_object().bucket(BUCKET).key("new").body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(error(put), (503, "ServiceUnavailable".into()));
        f.bring_back(1..=4).await;
        assert_eq!(f.get("k").await, b"first");
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("new").send().await).0, 404);
        f.put("k", "third").await;
        assert_eq!(f.get("k").await, b"third");
        assert_eq!(f.store().metadata().heal_queue_len().await.unwrap(), 0, "nothing that was committed is missing");
    }

    async fn a_copy_of_a_packed_object_has_bytes_of_its_own(f: Fixture) {
        f.put("source", bytes(5000)).await;
        f.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/source")).send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("source").send().await.unwrap();
        f.settle().await;
        assert!(f.get("copy").await == bytes(5000));
    }

    async fn small_parts_are_packed_and_moved(f: Fixture) {
        let created = f.s3.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        let upload = created.upload_id().unwrap();
        let contents = [bytes(5 * MIB), bytes(777)];
        let mut parts = Vec::new();
        for (number, content) in (1..).zip(&contents) {
            let part = f.s3.upload_part().bucket(BUCKET).key("m").upload_id(upload).part_number(number);
            let part = part.body(ByteStream::from(content.clone())).send().await.unwrap();
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
        }
        // In one chunk with the part: much that will soon be dead.
        f.put_many("a", 50).await;
        let complete = f.s3.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(upload);
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        complete.multipart_upload(all).send().await.unwrap();
        let whole = contents.concat();
        assert!(f.get("m").await == whole);
        for n in 0..50 {
            f.s3.delete_object().bucket(BUCKET).key(format!("a/{n}")).send().await.unwrap();
        }
        let before = f.bytes_on_disk();
        f.settle().await;
        assert!(f.bytes_on_disk() < before);
        assert!(f.get("m").await == whole);
        f.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/m")).send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("m").send().await.unwrap();
        f.settle().await;
        assert!(f.get("copy").await == whole);
        f.s3.delete_object().bucket(BUCKET).key("copy").send().await.unwrap();
        f.settle().await;
        assert_eq!(f.files(), Vec::<std::path::PathBuf>::new());
    }
}
