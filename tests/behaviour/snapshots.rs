use std::time::Duration;

use ninefold::maintenance::Reclaim;
use ninefold::metadata::{JobState, SnapshotRow, SnapshotState};
use ninefold::snapshots::{SNAPSHOT, Snapshot, SnapshotConfig};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, on_both};

impl Fixture {
    /// Asks for a snapshot and has it made; older ones than the newest `keep` go.
    async fn snapshot(&self, keep: usize) -> JobState {
        // Later than what died before, by any clock of milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.store().metadata().request_job(SNAPSHOT).await.unwrap();
        let config = SnapshotConfig { interval: Duration::ZERO, keep, ..SnapshotConfig::default() };
        self.run(&Snapshot::new(self.store().clone(), config)).await;
        self.store().metadata().job(SNAPSHOT).await.unwrap().unwrap().state
    }

    async fn complete(&self) -> Vec<SnapshotRow> {
        let rows = self.store().metadata().snapshots().await.unwrap();
        rows.into_iter().filter(|row| row.state == SnapshotState::Complete).collect()
    }

    async fn reclaim_behind_snapshots(&self) {
        self.run(&Reclaim::new(self.store().clone(), Duration::ZERO).behind_snapshots()).await;
    }

    /// The manifests on a volume. Beside them there may be files of the log.
    fn manifests(&self, volume: u16) -> usize {
        let directory = self.dir.path().join(format!("v{volume}/snapshots"));
        let is_manifest = |file: &std::fs::DirEntry| file.file_name().to_str().unwrap().starts_with("snapshot.");
        std::fs::read_dir(directory).map_or(0, |files| files.filter(|file| is_manifest(file.as_ref().unwrap())).count())
    }
}

on_both! {
    async fn files_that_a_snapshot_needs_stay_until_the_next(f: Fixture) {
        f.put("deleted", bytes(MIB)).await;
        f.put("kept", bytes(2 * MIB)).await;
        let delete = || f.s3.delete_object().bucket(BUCKET).key("deleted").send();
        // Without any snapshot nothing goes.
        delete().await.unwrap();
        f.reclaim_behind_snapshots().await;
        assert_eq!(f.files().len(), 18);
        assert_eq!(f.store().metadata().held_by_snapshots().await.unwrap(), 1);
        assert_eq!(f.snapshot(1).await, JobState::Done);
        f.reclaim_behind_snapshots().await;
        assert_eq!(f.files().len(), 18, "those of the object that is left, and of the snapshot");

        f.put("deleted", bytes(MIB)).await;
        assert_eq!(f.snapshot(2).await, JobState::Done);
        delete().await.unwrap();
        f.reclaim_behind_snapshots().await;
        assert_eq!(f.files().len(), 36, "the newest snapshot has the object");
        assert_eq!(f.snapshot(2).await, JobState::Done);
        f.reclaim_behind_snapshots().await;
        f.reclaim_behind_snapshots().await;
        assert_eq!(f.store().metadata().held_by_snapshots().await.unwrap(), 1, "the oldest snapshot's own");
        assert_eq!(f.files().len(), 36);
        f.assert_well().await;
    }

    async fn old_snapshots_go(f: Fixture) {
        f.put("k", bytes(1000)).await;
        for _ in 0..4 {
            assert_eq!(f.snapshot(2).await, JobState::Done);
        }
        let complete = f.complete().await;
        assert_eq!(complete.len(), 2);
        assert!(complete[0].began > complete[1].began && complete[0].rows > 10);
        assert_eq!(f.store().metadata().snapshots().await.unwrap().len(), 2, "the others are forgotten");
        assert!((1..=9).all(|volume| f.manifests(volume) == 2));
        // One of which no row knows goes once it is older than all that is kept.
        let stray = |began: &str| f.dir.path().join(format!("v3/snapshots/snapshot.{began}-00000000"));
        let (old, new) = (stray("000000000000001"), stray("999999999999999"));
        std::fs::write(&old, "").unwrap();
        std::fs::write(&new, "").unwrap();
        assert_eq!(f.snapshot(2).await, JobState::Done);
        assert!(!old.exists() && new.exists());
        assert_eq!(f.complete().await.len(), 2);
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        // A packed chunk, and two snapshots.
        assert_eq!(f.files().len(), 27);
        f.assert_well().await;
    }

    async fn what_is_not_on_six_volumes_is_no_snapshot(f: Fixture) {
        f.put("k", bytes(1000)).await;
        // Where the directory should be there is a file.
        let directory = |volume: u16| f.dir.path().join(format!("v{volume}/snapshots"));
        for volume in 1..=4 {
            _ = std::fs::remove_dir_all(directory(volume));
            std::fs::write(directory(volume), "").unwrap();
        }
        assert_eq!(f.snapshot(2).await, JobState::Failed);
        assert_eq!(f.complete().await, []);
        for volume in 1..=4 {
            std::fs::remove_file(directory(volume)).unwrap();
        }
        f.store().chunks().volumes().check_all().await;
        assert_eq!(f.snapshot(2).await, JobState::Done);
        assert_eq!(f.complete().await.len(), 1);
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        f.assert_well().await;
    }
}
