use std::path::{Path, PathBuf};
use std::time::Duration;

use ninefold::maintenance::{
    HEAL, Heal, Mover, MoverConfig, REBALANCE, Reclaim, Relocate, SCRUB, Scrub, drain_job, make, refill_job,
};
use ninefold::metadata::{ChunkRow, JobState};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, on_both, spec};

/// Objects of all kinds: of several chunks, of one, packed.
const SIZES: [usize; 7] = [9 * MIB + 17, 5 * MIB, MIB + 1, 300_000, 40_000, 1_000, 1];

impl Fixture {
    async fn put_all(&self) {
        for (i, &size) in SIZES.iter().enumerate() {
            self.put(&format!("object-{i}"), bytes(size)).await;
        }
    }

    async fn check_all(&self) {
        for (i, &size) in SIZES.iter().enumerate() {
            assert!(self.get(&format!("object-{i}")).await == bytes(size), "object of {size} bytes");
        }
    }

    fn mover(&self) -> Mover {
        self.mover_with(|_| {})
    }

    pub fn mover_with(&self, change: impl FnOnce(&mut MoverConfig)) -> Mover {
        let mut config = MoverConfig { bytes_per_second: 0, grace: Duration::ZERO, ..MoverConfig::default() };
        change(&mut config);
        Mover::new(self.store().clone(), config)
    }

    pub async fn heal(&self) {
        self.run(&Heal::new(self.store().clone(), self.mover())).await;
    }

    pub async fn relocate(&self) {
        self.run(&Relocate::new(self.store().clone(), self.mover(), self.instance.roster().clone())).await;
    }

    pub async fn scrub(&self) -> JobState {
        self.store().metadata().request_job(SCRUB).await.unwrap();
        self.run(&Scrub::new(self.store().clone(), 0, Duration::from_secs(1 << 40))).await;
        self.job(SCRUB).await
    }

    pub async fn job(&self, name: &str) -> JobState {
        self.store().metadata().job(name).await.unwrap().unwrap().state
    }

    pub async fn queued(&self) -> u64 {
        self.store().metadata().heal_queue_len().await.unwrap()
    }

    pub async fn chunks(&self) -> Vec<ChunkRow> {
        self.store().metadata().chunks_after(None, None, 1000).await.unwrap()
    }

    /// Gives the volume an empty disk, as `ninefold volume replace` does.
    async fn replace(&self, n: u16) {
        // Taken out at once: a disk that is emptied file by file may be written to meanwhile.
        let (path, away) = (self.dir.path().join(format!("v{n}")), tempfile::tempdir_in(self.dir.path()).unwrap());
        std::fs::rename(&path, away.keep().join("disk")).unwrap();
        let row = self.store().metadata().replace_volume(&format!("v{n}"), None).await.unwrap();
        make(&row, self.instance.deployment()).await.unwrap();
        self.store().metadata().set_formatted(row.slot).await.unwrap();
        self.instance.roster().refresh().await.unwrap();
    }

    /// The files of shards on a volume.
    pub fn files_on(&self, n: u16) -> Vec<PathBuf> {
        let path = self.dir.path().join(format!("v{n}"));
        files_in(&path.join("shards"))
    }

    pub async fn reclaim(&self) {
        self.run(&Reclaim::new(self.store().clone(), Duration::ZERO)).await;
    }

    /// Every row's shard is there and verified; no file is that no row knows.
    pub async fn whole(&self, volumes: u16) {
        assert_eq!(self.scrub().await, JobState::Done);
        assert_eq!(self.queued().await, 0);
        self.reclaim().await;
        let shards: usize = self.chunks().await.iter().map(|row| row.stored.placement.0.iter().flatten().count()).sum();
        let files: usize = (1..=volumes).map(|n| self.files_on(n).len()).sum();
        assert_eq!(files, shards);
    }

    async fn seal(self) -> Self {
        // An open packed chunk is sealed when its instance ends.
        self.restart().await
    }
}

fn files_in(shards: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for fan_out in std::fs::read_dir(shards).into_iter().flatten() {
        files.extend(std::fs::read_dir(fan_out.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    files.sort();
    files
}

pub fn flip(file: &Path, at: usize) {
    let mut content = std::fs::read(file).unwrap();
    let at = at.min(content.len() - 1);
    content[at] ^= 0x20;
    std::fs::write(file, content).unwrap();
}

on_both! {
    async fn three_disks_may_be_replaced_and_then_three_others(f: Fixture) {
        f.put_all().await;
        let f = f.seal().await;
        let before: Vec<usize> = (1..=9).map(|n| f.files_on(n).len()).collect();
        for disks in [[1, 2, 3], [4, 5, 6], [7, 8, 9]] {
            for n in disks {
                f.replace(n).await;
                assert!(f.files_on(n).is_empty());
            }
            f.relocate().await;
            for n in disks {
                assert_eq!(f.job(&refill_job(&format!("v{n}"))).await, JobState::Done);
            }
            f.heal().await;
            assert_eq!(f.job(HEAL).await, JobState::Done);
            assert_eq!(f.queued().await, 0);
            for n in disks {
                assert_eq!(f.files_on(n).len(), before[usize::from(n) - 1]);
            }
        }
        // Only what was rebuilt is there to read from.
        f.check_all().await;
        f.whole(9).await;
    }

    async fn flipped_bits_and_missing_shards_are_found_and_healed(f: Fixture) {
        f.put_all().await;
        let f = f.seal().await;
        f.whole(9).await;
        let mut hurt = 0;
        for (n, at) in [(1, 20), (2, 4100), (3, usize::MAX)] {
            for file in f.files_on(n) {
                flip(&file, at);
                hurt += 1;
            }
        }
        // A trailer that is wrong is no damage where none is needed.
        let packed = f.chunks().await.iter().filter(|row| row.stored.packed).count();
        assert!(packed > 0);
        let removed = f.files_on(4).swap_remove(0);
        std::fs::remove_file(removed).unwrap();
        assert_eq!(f.scrub().await, JobState::Done);
        let found = f.store().metadata().job(SCRUB).await.unwrap().unwrap().found;
        assert_eq!(found as usize, hurt + 1 - packed);
        assert_eq!(f.queued().await, found);
        f.heal().await;
        assert_eq!(f.queued().await, 0);
        f.whole(9).await;
        f.check_all().await;
    }

    async fn a_file_that_nobody_knows_goes_to_quarantine(f: Fixture) {
        f.put("k", bytes(3 * MIB)).await;
        let known = f.files_on(1).swap_remove(0);
        let name = known.file_name().unwrap().to_str().unwrap();
        let (chunk, rest) = name.split_at(32);
        // Of the same directory, by its sequence number, and of a range that never was.
        let stranger = known.with_file_name(format!("{}{:016x}{rest}", &chunk[..16], 0x1234));
        std::fs::copy(&known, &stranger).unwrap();
        assert_eq!(f.scrub().await, JobState::Done);
        assert_eq!(f.files_on(1), [known]);
        let quarantine = f.dir.path().join("v1/quarantine");
        let moved: Vec<_> = std::fs::read_dir(quarantine).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(moved, [stranger.file_name().unwrap()]);
    }

    async fn with_four_gone_a_chunk_is_damaged_and_heals_once_one_is_back(f: Fixture) {
        f.put("k", bytes(2 * MIB)).await;
        let kept = f.dir.path().join("kept");
        for n in 1..=4 {
            let file = f.files_on(n).swap_remove(0);
            if n == 1 {
                std::fs::copy(&file, &kept).unwrap();
            }
            std::fs::remove_file(&file).unwrap();
        }
        let file_of_v1 = {
            let row = f.chunks().await.remove(0);
            let shard = row.stored.placement.0.iter().position(|place| place.unwrap().volume.0 == 1).unwrap();
            let (_, name) = row.stored.placement.file(row.stored.id, shard).unwrap();
            f.dir.path().join(format!("v1/shards/{:02x}/{name}", name.chunk.fan_out()))
        };
        f.scrub().await;
        assert_eq!(f.queued().await, 4);
        f.heal().await;
        assert_eq!(f.job(HEAL).await, JobState::Failed);
        assert_eq!(f.store().metadata().chunk_counts().await.unwrap().damaged, 1);
        assert_eq!(f.queued().await, 4, "what cannot be healed stays in the queue");
        assert!(f.s3.get_object().bucket(BUCKET).key("k").send().await.is_err());
        // Not tried again at once.
        assert!(f.store().metadata().heal_tasks(f.clock.now(), 10).await.unwrap().is_empty());
        std::fs::copy(&kept, &file_of_v1).unwrap();
        f.clock.advance(Duration::from_secs(3600));
        f.heal().await;
        assert_eq!(f.store().metadata().chunk_counts().await.unwrap().damaged, 0);
        assert!(f.get("k").await == bytes(2 * MIB));
        f.whole(9).await;
    }

    async fn an_open_packed_chunk_is_healed_once_it_is_sealed(f: Fixture) {
        f.put("small", bytes(1000)).await;
        std::fs::remove_file(f.files_on(5).swap_remove(0)).unwrap();
        let row = f.chunks().await.remove(0);
        let shard = row.stored.placement.0.iter().position(|place| place.unwrap().volume.0 == 5).unwrap();
        f.store().metadata().queue_heal(row.stored.id, shard as u8, "gone", f.clock.now()).await.unwrap();
        f.heal().await;
        assert_eq!((f.queued().await, f.job(HEAL).await), (1, JobState::Running), "done is only what is healed");
        let f = f.seal().await;
        f.clock.advance(Duration::from_secs(3600));
        f.heal().await;
        assert_eq!((f.queued().await, f.job(HEAL).await), (0, JobState::Done));
        assert_eq!(f.files_on(5).len(), 1);
        assert_eq!(f.get("small").await, bytes(1000));
    }

    async fn a_drained_volume_is_empty_and_can_be_removed(f: Fixture) {
        let dir = f.dir.path().to_owned();
        let f = f.restart_with(|config| config.volumes.push(spec(&dir, 10))).await;
        f.put_all().await;
        let f = f.seal().await;
        assert!(!f.files_on(3).is_empty());
        let db = f.store().metadata();
        let slot = db.volumes().await.unwrap().iter().find(|row| row.spec.id == "v3").unwrap().slot;
        db.set_draining(slot, true).await.unwrap();
        db.request_job(&drain_job("v3")).await.unwrap();
        // Under load: what is written meanwhile goes elsewhere.
        f.instance.roster().refresh().await.unwrap();
        let load = async {
            for n in 0..10 {
                f.put(&format!("meanwhile-{n}"), bytes(200_000)).await;
            }
        };
        tokio::join!(load, f.relocate());
        assert_eq!(f.job(&drain_job("v3")).await, JobState::Done);
        f.reclaim().await;
        assert!(f.files_on(3).is_empty());
        f.check_all().await;
        for row in f.chunks().await {
            let mut volumes: Vec<_> = row.stored.placement.0.iter().flatten().map(|place| place.volume).collect();
            volumes.sort();
            volumes.dedup();
            assert_eq!(volumes.len(), 9, "no volume has two shards of a chunk");
        }
        db.remove_volume("v3").await.unwrap();
        f.instance.roster().refresh().await.unwrap();
        assert_eq!(f.store().chunks().volumes().members().len(), 9);
        f.check_all().await;
    }

    async fn a_volume_that_cannot_be_emptied_is_told(f: Fixture) {
        f.put("k", bytes(MIB)).await;
        let db = f.store().metadata();
        let slot = db.volumes().await.unwrap()[0].slot;
        db.set_draining(slot, true).await.unwrap();
        db.request_job(&drain_job("v1")).await.unwrap();
        f.relocate().await;
        assert_eq!(f.job(&drain_job("v1")).await, JobState::Failed, "there are only eight others");
        db.set_draining(slot, false).await.unwrap();
        db.request_job(&drain_job("v1")).await.unwrap();
        f.relocate().await;
        assert_eq!(f.job(&drain_job("v1")).await, JobState::Failed, "called off");
        assert_eq!(f.get("k").await, bytes(MIB));
    }

    async fn an_added_volume_gets_about_its_share(f: Fixture) {
        let chunks = 60;
        for n in 0..chunks {
            f.put(&format!("k-{n}"), bytes(300_000)).await;
        }
        let added = f.store().metadata().add_volume(&spec(f.dir.path(), 10)).await.unwrap();
        make(&added, f.instance.deployment()).await.unwrap();
        f.store().metadata().set_formatted(added.slot).await.unwrap();
        f.store().metadata().request_job(REBALANCE).await.unwrap();
        f.relocate().await;
        assert_eq!(f.job(REBALANCE).await, JobState::Done);
        f.reclaim().await;
        // Nine tenths of all chunks want a shard on it.
        let share = f.files_on(10).len();
        assert!((40..=60).contains(&share), "{share} of {chunks}");
        let moved = f.store().metadata().job(REBALANCE).await.unwrap().unwrap().found;
        assert_eq!(moved as usize, share, "nothing else moves");
        let ring = f.store().chunks().ring_of_staying();
        for row in f.chunks().await {
            assert_eq!(f.store().chunks().misplaced(&row.stored, &ring), (vec![], 0));
        }
        for n in 0..chunks {
            assert!(f.get(&format!("k-{n}")).await == bytes(300_000));
        }
        f.whole(10).await;
        // A server's list of volumes does not name it, and it stays.
        let f = f.restart().await;
        assert!(f.store().chunks().volumes().members().values().any(|member| &**member.name() == "v10" && member.takes_writes()));
    }

    async fn healing_that_is_cut_short_leaves_no_file_behind_and_goes_on(f: Fixture) {
        for n in 0..8 {
            f.put(&format!("k-{n}"), bytes(2 * MIB)).await;
        }
        f.replace(6).await;
        f.relocate().await;
        let waiting = f.queued().await;
        assert_eq!(waiting, 8);
        // Slowly, and given up in the middle of a shard, however often.
        let slow = f.mover_with(|config| {
            config.bytes_per_second = 20 << 20;
            config.patience = Duration::from_secs(5);
        });
        for _ in 0..3 {
            let (store, mover, instance) = (f.store().clone(), slow.clone(), f.instance.heartbeat().instance());
            let task = tokio::spawn(async move {
                let heal = Heal::new(store.clone(), mover);
                ninefold::maintenance::run_once(store.metadata(), instance, &heal).await
            });
            while f.files_on(6).len() as u64 + f.queued().await <= waiting && !task.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            task.abort();
            drop(task.await);
        }
        f.heal().await;
        assert_eq!(f.queued().await, 0);
        // Files that were in the making are removed once they are given up.
        let mut tries = 0;
        loop {
            f.reclaim().await;
            if f.files_on(6).len() == 8 {
                break;
            }
            tries += 1;
            assert!(tries < 300, "{:?}", f.files_on(6));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        f.whole(9).await;
    }

    async fn a_scrub_goes_on_where_its_last_holder_stopped(f: Fixture) {
        for n in 0..40 {
            f.put(&format!("k-{n}"), bytes(300_000)).await;
        }
        let db = f.store().metadata();
        db.request_job(SCRUB).await.unwrap();
        let (store, instance) = (f.store().clone(), f.instance.heartbeat().instance());
        let task = tokio::spawn(async move {
            let scrub = Scrub::new(store.clone(), 2 << 20, Duration::from_secs(1 << 40));
            ninefold::maintenance::run_once(store.metadata(), instance, &scrub).await
        });
        let done = async || db.job(SCRUB).await.unwrap().unwrap().done;
        while done().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        task.abort();
        drop(task.await);
        let first = db.job(SCRUB).await.unwrap().unwrap();
        assert_eq!(first.state, JobState::Running);
        f.run(&Scrub::new(f.store().clone(), 0, Duration::from_secs(1 << 40))).await;
        let job = db.job(SCRUB).await.unwrap().unwrap();
        assert_eq!((job.state, job.started), (JobState::Done, first.started));
        assert_eq!(job.done, job.total, "no chunk twice, none left out");
        let shards: u64 = f.chunks().await.iter().map(|row| 9 * (row.stored.end - 4096)).sum();
        assert!(job.bytes == shards, "{} of {shards}", job.bytes);
    }

    async fn shards_on_a_volume_that_is_away_are_not_called_verified(f: Fixture) {
        f.put("k", bytes(MIB)).await;
        let (path, away) = (f.dir.path().join("v2"), f.dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        f.store().chunks().volumes().check_all().await;
        assert_eq!(f.scrub().await, JobState::Failed);
        assert_eq!(f.queued().await, 0, "nothing is known of them");
        std::fs::rename(&away, &path).unwrap();
        f.store().chunks().volumes().check_all().await;
        assert_eq!(f.scrub().await, JobState::Done);
    }

    async fn a_disk_that_was_taken_out_is_no_volume_any_more(f: Fixture) {
        f.put("k", bytes(MIB)).await;
        let (path, old) = (f.dir.path().join("v7"), f.dir.path().join("old"));
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        f.replace(7).await;
        f.relocate().await;
        f.heal().await;
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&old, &path).unwrap();
        f.store().chunks().volumes().check_all().await;
        let member = f.store().chunks().volumes().members().values().find(|m| &**m.name() == "v7").unwrap().clone();
        assert!(!member.takes_writes() && member.last_error().is_some());
    }
}
