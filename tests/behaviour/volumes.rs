use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use ninefold::maintenance::Reclaim;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both, spec};

fn away(path: &Path) -> std::path::PathBuf {
    path.with_extension("away")
}

impl Fixture {
    pub async fn take(&self, volumes: std::ops::RangeInclusive<u16>) {
        for n in volumes {
            let path = self.dir.path().join(format!("v{n}"));
            std::fs::rename(&path, away(&path)).unwrap();
        }
        self.probe().await;
    }

    pub async fn bring_back(&self, volumes: std::ops::RangeInclusive<u16>) {
        for n in volumes {
            let path = self.dir.path().join(format!("v{n}"));
            std::fs::rename(away(&path), &path).unwrap();
        }
        self.probe().await;
    }

    pub async fn probe(&self) {
        // A failed volume is degraded at first and healthy after it has answered twice.
        for _ in 0..3 {
            self.store().chunks().volumes().check_all().await;
        }
    }
}

on_both! {
    async fn three_volumes_may_go_and_come_back(f: Fixture) {
        let content = bytes(9 * MIB + 1);
        f.put("before", content.clone()).await;
        f.take(2..=4).await;
        assert!(f.get("before").await == content);
        f.put("meanwhile", content.clone()).await;
        assert!(f.get("meanwhile").await == content);
        assert_eq!(f.store().metadata().heal_queue_len().await.unwrap(), 3 * 3, "three shards of three chunks wait for healing");
        f.bring_back(2..=4).await;
        f.take(5..=7).await;
        assert!(f.get("before").await == content);
        let missing_six = f.s3.get_object().bucket(BUCKET).key("meanwhile").send().await;
        assert!(missing_six.is_err(), "three were never written and three are away");
    }

    async fn a_fifo_in_the_place_of_an_identity_hangs_nobody(f: Fixture) {
        let content = bytes(3 * MIB);
        f.put("k", content.clone()).await;
        for volume in ["v2", "v3", "v4"] {
            let path = f.dir.path().join(volume).join("volume.json");
            std::fs::remove_file(&path).unwrap();
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        f.probe().await;
        assert!(f.get("k").await == content);
        let f = f.restart().await;
        assert!(f.get("k").await == content);
        f.put("k", content.clone()).await;
        assert!(f.get("k").await == content);
    }

    async fn with_four_gone_nothing_wrong_is_said_and_nothing_is_left(f: Fixture) {
        let content = bytes(5 * MIB);
        f.put("k", content.clone()).await;
        let files = f.files().len();
        f.take(1..=4).await;
        let got = f.s3.get_object().bucket(BUCKET).key("k").send().await;
        assert_eq!(error(got).0, 500);
        let put = f.s3.put_object().bucket(BUCKET).key("new").body(ByteStream::from(bytes(3 * MIB))).send().await;
        assert_eq!(error(put), (503, "ServiceUnavailable".into()));
        f.bring_back(1..=4).await;
        assert!(f.get("k").await == content);
        assert_eq!(f.files().len(), files);
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("new").send().await).0, 404);
        f.put("new", content.clone()).await;
    }

    async fn files_of_an_absent_volume_are_removed_when_it_is_back(f: Fixture) {
        f.put("k", bytes(100_000)).await;
        f.take(9..=9).await;
        f.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        let reclaim = Reclaim::new(f.store().clone(), Duration::ZERO);
        f.run(&reclaim).await;
        f.bring_back(9..=9).await;
        assert_eq!(f.files().len(), 1);
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 0);
    }

    async fn volumes_are_added_and_taken_from_the_list(f: Fixture) {
        let dir = f.dir.path().to_owned();
        let names = |f: &Fixture| -> Vec<String> {
            f.store().chunks().volumes().members().values().map(|member| member.name().to_string()).collect()
        };
        // One more, and then not: nothing was on it.
        let f = f.restart_with(|config| config.volumes.push(spec(&dir, 10))).await;
        assert_eq!(names(&f).len(), 10);
        let f = f.restart_with(|config| config.volumes.truncate(9)).await;
        assert_eq!(names(&f).len(), 9);
        let content = bytes(5000);
        f.put("old", content.clone()).await;
        // Another in the place of the first, which has shards.
        let f = f.restart_with(|config| config.volumes[0] = spec(&dir, 11)).await;
        assert_eq!(names(&f).len(), 10);
        assert_eq!(f.get("old").await, content);
        let before = f.files().iter().filter(|file| file.starts_with(dir.join("v1"))).count();
        for n in 0..20 {
            f.put(&format!("new-{n}"), content.clone()).await;
        }
        let after = f.files().iter().filter(|file| file.starts_with(dir.join("v1"))).count();
        assert_eq!((before, after), (1, 1), "a volume that is not named takes no new shards");
        assert_eq!(f.store().metadata().heal_queue_len().await.unwrap(), 0);
    }

    async fn an_empty_directory_in_a_volumes_place_is_never_made_a_volume(f: Fixture) {
        f.put("k", bytes(1000)).await;
        let path = f.dir.path().join("v1");
        std::fs::rename(&path, away(&path)).unwrap();
        std::fs::create_dir(&path).unwrap();
        let f = f.restart().await;
        f.probe().await;
        assert_eq!(f.get("k").await, bytes(1000));
        f.put("l", bytes(1000)).await;
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(away(&path), &path).unwrap();
        f.probe().await;
        assert_eq!(f.store().metadata().heal_queue_len().await.unwrap(), 1);
        assert_eq!(f.files().len(), 9 + 8);
    }
}
