use std::path::Path;
use std::time::Duration;

use ninefold::maintenance::{CheckOptions, Reclaim, Summary, check};
use ninefold::metadata::Discrepancy;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, on_both};

impl Fixture {
    async fn check(&self, deep: bool) -> (Vec<(&'static str, String)>, Summary) {
        let options = CheckOptions { deep, pause: Duration::from_millis(20) };
        let mut found = Vec::new();
        let mut report = |said: Discrepancy| found.push((said.what, said.subject));
        let store = self.store();
        let summary = check(store.metadata(), store.chunks().volumes(), &options, &mut report).await.unwrap();
        assert_eq!(summary.discrepancies, found.len() as u64);
        (found, summary)
    }

    /// Fails if a deep check finds anything.
    pub async fn assert_well(&self) -> Summary {
        let (found, summary) = self.check(true).await;
        assert_eq!(found, []);
        summary
    }
}

/// The shard that a file is, as check calls it.
fn shard(file: &Path) -> String {
    format!("shard {}", file.file_name().unwrap().to_str().unwrap())
}

on_both! {
    async fn a_store_in_order_is_found_so(f: Fixture) {
        assert_eq!(f.check(false).await, (vec![], Summary::default()));
        f.put("large", bytes(9 * MIB)).await;
        f.put("small", bytes(1000)).await;
        f.put("deleted", bytes(MIB)).await;
        f.s3.delete_object().bucket(BUCKET).key("deleted").send().await.unwrap();
        f.run(&Reclaim::new(f.store().clone(), Duration::from_secs(3600))).await;
        let (found, summary) = f.check(true).await;
        assert_eq!(found, []);
        // Three chunks of the large object, the packed one, and the dead one.
        assert_eq!((summary.chunks, summary.files, summary.dead), (4, 36, 9));
        assert!(summary.verified > 9 * MIB as u64 * 3 / 2);
        assert_eq!((summary.cut, summary.pending, summary.under_way, summary.unhealed), (0, 0, 0, 0));
        f.take(3..=3).await;
        assert_eq!(f.check(false).await.0, [("volume that cannot be checked", "v3".to_owned())]);
    }

    async fn files_that_are_not_as_the_rows_say_are_found(f: Fixture) {
        f.put("large", bytes(2 * MIB)).await;
        f.put("small", bytes(1000)).await;
        f.assert_well().await;
        for file in f.files().into_iter().step_by(4) {
            let content = std::fs::read(&file).unwrap();
            // The same file all along: the volume may have it open.
            let away = file.with_extension("away");
            std::fs::rename(&file, &away).unwrap();
            assert_eq!(f.check(false).await.0, [("shard that is not there", shard(&file))]);
            std::fs::rename(&away, &file).unwrap();
            std::fs::write(&file, &content[..content.len() - 65]).unwrap();
            assert_eq!(f.check(false).await.0, [("shard of the wrong length", shard(&file))]);
            let mut flipped = content.clone();
            flipped[4200] ^= 4;
            std::fs::write(&file, flipped).unwrap();
            assert_eq!(f.check(false).await.0, []);
            assert_eq!(f.check(true).await.0, [("damaged shard", shard(&file))]);
            std::fs::write(&file, content).unwrap();
        }
        f.assert_well().await;
    }

    async fn files_that_no_row_names_are_found(f: Fixture) {
        f.put("k", bytes(MIB)).await;
        let file = f.files().remove(0);
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let (chunk, rest) = name.split_once('.').unwrap();
        // A generation that nobody wrote, and an id of a range that there never was.
        let other = file.with_file_name(format!("{chunk}.{}.7", &rest[..1]));
        let nobody = file.with_file_name(format!("{}{}.0.0", &chunk[..16], "0123456789abcdef"));
        for stray in [other, nobody] {
            std::fs::copy(&file, &stray).unwrap();
            assert_eq!(f.check(false).await.0, [("file that no row names", shard(&stray))]);
            std::fs::remove_file(stray).unwrap();
        }
        f.assert_well().await;
    }

    async fn what_is_on_its_way_is_no_discrepancy(f: Fixture) {
        f.write_and_crash(MIB).await;
        let (found, summary) = f.check(false).await;
        assert_eq!((found, summary.under_way), (vec![], 9));
        f.close_in_sql().await;
        let (found, summary) = f.check(false).await;
        assert_eq!((found, summary.cut), (vec![], 9));
    }

    async fn beside_writers_nothing_is_found(f: Fixture) {
        let writing = async {
            for n in 0..60 {
                let key = format!("{}", n % 7);
                f.put(&key, bytes(if n % 3 == 0 { 200_000 } else { 3000 })).await;
                if n % 4 == 0 {
                    f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
                }
                f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
            }
        };
        let checking = async {
            for _ in 0..4 {
                f.assert_well().await;
            }
        };
        tokio::join!(writing, checking);
    }
}
