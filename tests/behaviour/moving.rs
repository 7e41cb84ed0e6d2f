//! Draining and scrubbing while volumes fail: what is said to be done is done, nothing is lost, and what could not be
//! done is done once the volumes do well again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use ninefold::layout::{ChunkId, VolumeSlot};
use ninefold::maintenance::{Relocate, drain_job};
use ninefold::metadata::JobState;
use ninefold::volumes::fault::{Fault, Faults, Gate, Operation};

use crate::faults::{Effect, How, Kind, LARGE, NOTHING_HANGS, Rig, SMALL, kinds};
use crate::fixture::{BUCKET, Fixture, MIB, bytes, on_both, spec};
use crate::healing::flip;

/// Two more than a chunk has shards.
const VOLUMES: usize = 11;
const OBJECTS: usize = 8;

fn key(n: usize) -> String {
    format!("object-{n}")
}

fn size(n: usize) -> usize {
    [LARGE, 200_000, SMALL, MIB + 1][n % 4] + n
}

fn slot(volume: usize) -> VolumeSlot {
    VolumeSlot(volume as u16 + 1)
}

fn name(volume: usize) -> String {
    format!("v{}", volume + 1)
}

/// A fixture over so many volumes.
async fn with_volumes(f: Fixture, volumes: usize) -> Fixture {
    let dir = f.dir.path().to_owned();
    f.restart_with(|config| config.volumes.extend((10..=volumes as u16).map(|n| spec(&dir, n)))).await
}

impl Fixture {
    /// The shards that rows have on a volume.
    pub async fn shards_on(&self, volume: usize) -> BTreeSet<(ChunkId, u8)> {
        let chunks = self.chunks().await;
        let shards = chunks.iter().flat_map(|row| {
            let places = row.stored.placement.0.iter().enumerate();
            let here = places.filter(|(_, place)| place.is_some_and(|place| place.volume == slot(volume)));
            here.map(|(shard, _)| (row.stored.id, shard as u8))
        });
        shards.collect()
    }

    /// The shards that wait for healing.
    async fn noted(&self) -> BTreeSet<(ChunkId, u8)> {
        let tasks = self.store().metadata().heal_tasks(i64::MAX, 10_000).await.unwrap();
        tasks.iter().map(|task| (task.chunk, task.shard)).collect()
    }

    async fn set_draining(&self, volume: usize, draining: bool) {
        self.store().metadata().set_draining(slot(volume), draining).await.unwrap();
        self.instance.roster().refresh().await.unwrap();
    }

    /// What `ninefold volume drain` asks for.
    async fn ask_for_drain(&self, volume: usize) {
        self.set_draining(volume, true).await;
        self.store().metadata().request_job(&drain_job(&name(volume))).await.unwrap();
    }
}

impl Rig {
    pub async fn put_objects(&self) {
        for n in 0..OBJECTS {
            self.f.put(&key(n), bytes(size(n))).await;
        }
        self.f.store().close_packs().await;
        self.reclaim().await;
    }

    pub async fn get_objects(&self, case: &str) {
        for n in 0..OBJECTS {
            assert!(self.try_get(case, &key(n), size(n), None).await, "{case}: {} is lost", key(n));
        }
    }

    pub async fn fail(&self, kind: &Kind, bad: &[usize], gate: &Gate) {
        match kind.how {
            How::Faults(fail) => bad.iter().for_each(|&n| fail(&self.faults[n], gate)),
            How::AtRest(change) => _ = self.change_at_rest(bad, change).await,
        }
    }

    pub async fn do_well(&self, gate: &Gate) {
        gate.open();
        self.faults.iter().for_each(Faults::clear);
        self.recover().await;
    }

    /// A volume is drained while others fail, or it itself. Answers what the drain came to meanwhile.
    async fn drain(&mut self, kind: &Kind, count: usize) -> JobState {
        self.turn += 1;
        let drained = self.turn % VOLUMES;
        let first = drained + usize::from(!self.turn.is_multiple_of(3));
        let bad: Vec<usize> = (0..count).map(|n| (first + n * 2) % VOLUMES).collect();
        let names: Vec<String> = bad.iter().map(|&n| name(n)).collect();
        let case = &format!("{} of {names:?} while {} is drained", kind.name, name(drained));
        let (f, job) = (&self.f, drain_job(&name(drained)));
        self.put_objects().await;
        assert!(!f.shards_on(drained).await.is_empty(), "{case}: there is something to move");

        let gate = Gate::default();
        self.fail(kind, &bad, &gate).await;
        f.ask_for_drain(drained).await;
        // What nobody can know to be wrong is not written: it is to be seen that nothing of it is the drain's.
        let writes = kind.writes != Effect::Silent;
        let load = async {
            self.get_objects(case).await;
            if writes {
                assert!(self.try_put(case, "new-large", LARGE).await && self.try_put(case, "new-small", SMALL).await);
            }
        };
        tokio::join!(load, f.relocate());
        let meanwhile = f.job(&job).await;
        if meanwhile == JobState::Done {
            assert_eq!(f.shards_on(drained).await, BTreeSet::new(), "{case}: it is not done");
        }
        self.get_objects(case).await;

        self.do_well(&gate).await;
        f.store().close_packs().await;
        f.ask_for_drain(drained).await;
        f.relocate().await;
        assert_eq!(f.job(&job).await, JobState::Done, "{case}: it can be done now");
        assert_eq!(f.shards_on(drained).await, BTreeSet::new(), "{case}");
        if matches!(kind.how, How::Faults(_)) {
            // Before anything is scrubbed: what was moved is right.
            f.assert_well().await;
        } else {
            f.scrub().await;
        }
        self.get_objects(case).await;
        self.heal_all(case).await;
        if writes {
            assert!(self.try_get(case, "new-large", LARGE, None).await, "{case}");
            assert!(self.try_get(case, "new-small", SMALL, None).await, "{case}");
        }
        assert_eq!(f.shards_on(drained).await, BTreeSet::new(), "{case}: healing leaves it alone");
        self.assert_tidy(case).await;
        assert!(f.files_on(drained as u16 + 1).is_empty(), "{case}");
        f.set_draining(drained, false).await;
        self.recover().await;
        meanwhile
    }

    /// Bits are flipped on two volumes, and a scrub looks for them while others fail. In no stripe of a chunk that has more than one
    /// is the same volume hurt: with three away there are five good blocks of each, and none of them is to hide the other.
    async fn scrub(&mut self, kind: &Kind, count: usize) -> JobState {
        self.turn += 1;
        let volumes = self.faults.len();
        let hurt = [self.turn % volumes, (self.turn + 1) % volumes];
        let bad: Vec<usize> = (1..=count).map(|n| (self.turn + n * 2) % volumes).collect();
        let names: Vec<String> = bad.iter().map(|&n| name(n)).collect();
        let case = &format!("{} of {names:?} and flipped bits on {:?}", kind.name, hurt.map(name));
        let f = &self.f;
        self.put_objects().await;
        f.assert_well().await;
        // The last block of the one's, the first of the other's.
        let mut flipped = BTreeSet::new();
        for (volume, last) in hurt.into_iter().zip([true, false]) {
            flipped.extend(f.shards_on(volume).await);
            for row in f.chunks().await {
                let at = if last { row.stored.end as usize - 10 } else { 4096 + 100 };
                let files = (0..9).filter_map(|shard| row.stored.placement.file(row.stored.id, shard));
                for (_, name) in files.filter(|(on, _)| *on == slot(volume)) {
                    flip(&self.path(slot(volume), name), at);
                }
            }
        }
        let gate = Gate::default();
        self.fail(kind, &bad, &gate).await;
        let state = f.scrub().await;
        let noted = f.noted().await;
        assert!(flipped.is_subset(&noted), "{case}: {:?} were not found", flipped.difference(&noted));
        if state == JobState::Done && kind.reads == Effect::Error && matches!(kind.how, How::Faults(_)) {
            for &volume in &bad {
                let on_it = f.shards_on(volume).await;
                assert!(on_it.is_subset(&noted), "{case}: {} was not verified", name(volume));
            }
        }
        self.do_well(&gate).await;
        self.heal_all(case).await;
        self.get_objects(case).await;
        assert_eq!((f.scrub().await, f.queued().await), (JobState::Done, 0), "{case}");
        self.assert_tidy(case).await;
        state
    }
}

/// Goes through the kinds of failing, each on as many volumes as `count` says for its number (0: not at all); answers with what
/// the jobs ended while volumes failed.
async fn drains(f: Fixture, count: impl Fn(usize) -> usize) -> Vec<JobState> {
    let mut rig = Rig::new(with_volumes(f, VOLUMES).await).await;
    let mut ends = Vec::new();
    for (number, kind) in kinds().iter().enumerate().filter(|(number, _)| count(*number) > 0) {
        let started = Instant::now();
        let run = rig.drain(kind, count(number));
        ends.push(tokio::time::timeout(NOTHING_HANGS, run).await.expect("nothing hangs"));
        eprintln!("{} of {}: {:?}, {:.1} s", kind.name, count(number), ends.last(), started.elapsed().as_secs_f32());
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_survives_up_to_three_volumes_that_fail_in_any_way() {
    let ends = drains(Fixture::sqlite().await, |number| 3 - number % 2).await;
    assert!(ends.contains(&JobState::Failed) && ends.contains(&JobState::Done), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_survives_volumes_that_fail_on_postgres() {
    drains(Fixture::postgres().await, |number| if number.is_multiple_of(3) { 1 + number % 3 } else { 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_flipped_bits_while_up_to_three_volumes_fail() {
    let mut rig = Rig::new(Fixture::sqlite().await).await;
    for (number, kind) in kinds().iter().enumerate().filter(|(_, kind)| kind.reads != Effect::None) {
        // What is wrong at rest stays wrong: a fourth would be one too many.
        let count = if matches!(kind.how, How::AtRest(_)) { 2 } else { 3 - number % 2 };
        let run = rig.scrub(kind, count);
        let state = tokio::time::timeout(NOTHING_HANGS, run).await.expect("nothing hangs");
        eprintln!("{} of {count}: {state}", kind.name);
        if ["vanished", "hung"].contains(&kind.name) {
            assert_eq!(state, JobState::Failed, "{}: not everything was verified", kind.name);
        }
    }
}

on_both! {
    async fn a_scrub_from_which_a_volume_was_away_for_a_moment_is_not_done(f: Fixture) {
        let rig = Rig::new(f).await;
        rig.put_objects().await;
        for operation in [Operation::Present, Operation::Read, Operation::List] {
            rig.faults[4].next(operation, [Fault::None, Fault::None, Fault::Unavailable]);
            assert_eq!(rig.f.scrub().await, JobState::Failed, "{operation:?}");
            assert_eq!(rig.f.noted().await, BTreeSet::new(), "nothing is known of what was away");
            assert_eq!(rig.f.scrub().await, JobState::Done, "{operation:?}");
        }
    }

    async fn what_was_being_written_when_a_volume_was_drained_leaves_it_too(f: Fixture) {
        let f = with_volumes(f, 10).await;
        let rows = f.store().metadata().volumes().await.unwrap();
        let faults: Vec<Faults> = rows.iter().map(|row| f.wrap(row, None)).collect();
        f.probe().await;
        f.put("before", bytes(MIB)).await;
        // All is written and nothing synced: nobody knows of the write, and it is acknowledged only when the gate opens.
        let gate = Gate::default();
        let synced = |faults: &[Faults]| faults.iter().map(|faults| faults.calls(Operation::Sync)).sum::<u64>();
        let before = synced(&faults);
        let files: Vec<usize> = (1..=10).map(|n| f.files_on(n).len()).collect();
        faults.iter().for_each(|faults| faults.always(Operation::Sync, Fault::Hang(gate.clone())));
        let (s3, body) = (f.s3.clone(), ByteStream::from(bytes(LARGE)));
        let put = tokio::spawn(async move { s3.put_object().bucket(BUCKET).key("meanwhile").body(body).send().await });
        let deadline = Instant::now() + NOTHING_HANGS;
        while synced(&faults) < before + 9 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let drained = (0..10).find(|&n| f.files_on(n as u16 + 1).len() > files[n]).unwrap();
        faults.iter().for_each(Faults::clear);
        f.ask_for_drain(drained).await;
        f.relocate().await;
        let job = drain_job(&name(drained));
        assert_eq!(f.job(&job).await, JobState::Done, "so far nobody knows of anything on it");
        gate.open();
        put.await.unwrap().unwrap();
        assert!(!f.shards_on(drained).await.is_empty());
        // Nobody asks for it.
        f.relocate().await;
        assert_eq!((f.job(&job).await, f.shards_on(drained).await), (JobState::Done, BTreeSet::new()));
        f.reclaim().await;
        assert!(f.files_on(drained as u16 + 1).is_empty());
        assert!(f.get("meanwhile").await == bytes(LARGE) && f.get("before").await == bytes(MIB));
        f.assert_well().await;
    }

    async fn a_drain_that_failed_is_tried_again_by_itself(f: Fixture) {
        let f = with_volumes(f, 10).await;
        let rows = f.store().metadata().volumes().await.unwrap();
        let faults: Vec<Faults> = rows.iter().map(|row| f.wrap(row, None)).collect();
        f.probe().await;
        for n in 0..6 {
            f.put(&format!("k-{n}"), bytes(200_000 + n)).await;
        }
        faults.iter().for_each(|faults| faults.always(Operation::Create, Fault::Full));
        f.ask_for_drain(2).await;
        f.relocate().await;
        let job = drain_job(&name(2));
        assert_eq!(f.job(&job).await, JobState::Failed);
        faults.iter().for_each(Faults::clear);
        f.probe().await;
        // Not at once.
        f.relocate().await;
        assert_eq!(f.job(&job).await, JobState::Failed);
        let mover = f.mover_with(|config| config.again = Duration::ZERO);
        f.run(&Relocate::new(f.store().clone(), mover, Arc::clone(f.instance.roster()))).await;
        assert_eq!((f.job(&job).await, f.shards_on(2).await), (JobState::Done, BTreeSet::new()));
        for n in 0..6 {
            assert!(f.get(&format!("k-{n}")).await == bytes(200_000 + n));
        }
        f.assert_well().await;
    }
}
