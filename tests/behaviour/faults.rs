//! Every way in which volumes fail, on one to four of nine, in every phase of writing, reading, healing and compacting.
//!
//! With up to three everything succeeds, with the right bytes; what is bad is noted, and healed once the volumes do well again.
//! With four there are clean errors and never a wrong byte; nothing is left of what failed, and all is well when they are back.
//!
//! `NINEFOLD_FAULT_ROUNDS=N` goes through all combinations N times, each time with other volumes, instead of through a part of
//! them once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use ninefold::chunks::ChunkConfig;
use ninefold::layout::{DATA_SHARDS, SHARDS, ShardName, VolumeSlot};
use ninefold::maintenance::{Compact, Reclaim, Sweep, SweepConfig};
use ninefold::metadata::VolumeRow;
use ninefold::volumes::fault::{Fault, FaultVolume, Faults, Gate, Operation};
use ninefold::volumes::{Identity, LocalVolume, Location, Member, Status};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error};

/// Longer than any one combination may take.
pub const NOTHING_HANGS: Duration = Duration::from_secs(120);
/// How long a volume holds back an operation before it is answered as unavailable.
const LIMIT: Duration = Duration::from_secs(3);
/// An object of two chunks, of two stripes and of a short one.
pub const LARGE: usize = 2 * MIB + 100_001;
/// One that is packed.
pub const SMALL: usize = 3000;
/// A part that is not.
const PART: usize = 200_000;

/// What an operation on a volume in trouble comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing wrong.
    None,
    /// An error, or an answer that is plainly wrong.
    Error,
    /// An error, or not, as the moment has it.
    Perhaps,
    /// It succeeds, and is wrong: what was written is lost, and nobody knows it yet.
    Silent,
}

/// A way to fail.
pub struct Kind {
    pub name: &'static str,
    pub how: How,
    pub writes: Effect,
    pub reads: Effect,
}

pub enum How {
    /// These operations of the volume meet a fault.
    Faults(fn(&Faults, &Gate)),
    /// The files on it are changed behind its back.
    AtRest(fn(&[PathBuf], &[Vec<u8>])),
}

fn always(faults: &Faults, operations: &[Operation], fault: &Fault) {
    for &operation in operations {
        faults.always(operation, fault.clone());
    }
}

/// All kinds of failing.
pub fn kinds() -> Vec<Kind> {
    use Effect::{Error, None, Perhaps, Silent};
    use Operation::{Create, Probe, Quarantine, Read, Remove, Sync, Write};
    const EIO: Fault = Fault::Io(5);
    const EROFS: Fault = Fault::Io(30);
    let kind = |name, writes, reads, how: fn(&Faults, &Gate)| Kind { name, how: How::Faults(how), writes, reads };
    let at_rest = |name, how| Kind { name, how: How::AtRest(how), writes: None, reads: Error };
    vec![
        kind("EIO of everything", Error, Error, |f, _| always(f, &[Create, Write, Sync, Read, Remove], &EIO)),
        kind("EIO of creations", Error, None, |f, _| always(f, &[Create], &EIO)),
        kind("EIO of writes", Error, None, |f, _| always(f, &[Write], &EIO)),
        kind("EIO of syncs", Error, None, |f, _| always(f, &[Sync], &EIO)),
        kind("EIO of reads", None, Error, |f, _| always(f, &[Read], &EIO)),
        kind("EIO of the third write", Perhaps, None, |f, _| {
            f.next(Write, [Fault::None, Fault::None]);
            f.always(Write, EIO);
        }),
        kind("EIO of every second read", None, Perhaps, |f, _| {
            f.next(Read, (0..400).map(|n| if n % 2 == 0 { EIO } else { Fault::None }));
        }),
        kind("ENOSPC of creations", Error, None, |f, _| always(f, &[Create], &Fault::Full)),
        kind("ENOSPC in the middle of a file", Error, None, |f, _| always(f, &[Write], &Fault::Full)),
        kind("short writes", Error, None, |f, _| always(f, &[Write], &Fault::Short(100))),
        kind("writes that are done and fail", Error, None, |f, _| {
            always(f, &[Create, Write, Sync], &Fault::DoneButFailed);
        }),
        kind("read-only", Error, None, |f, _| always(f, &[Create, Write, Sync, Remove, Quarantine], &EROFS)),
        kind("vanished", Error, Error, |f, _| f.vanish(true)),
        kind("hung", Error, Error, |f, gate| {
            always(f, &[Create, Write, Sync, Read, Remove, Probe], &Fault::Hang(gate.clone()));
        }),
        kind("slow", None, None, |f, _| {
            always(f, &[Create, Write, Sync, Read], &Fault::Delay(Duration::from_millis(60)));
        }),
        kind("wrong bytes read", None, Error, |f, _| always(f, &[Read], &Fault::Flip { offset: 40, mask: 4 })),
        kind("bytes read from elsewhere", None, Error, |f, _| always(f, &[Read], &Fault::Misplaced(16))),
        kind("files that end too early", None, Error, |f, _| always(f, &[Read], &Fault::Truncated)),
        kind("files that are not there", None, Error, |f, _| always(f, &[Read], &Fault::Absent)),
        kind("wrong bytes written", Silent, None, |f, _| {
            always(f, &[Create, Write], &Fault::Flip { offset: 40, mask: 4 });
        }),
        kind("bytes written elsewhere", Silent, None, |f, _| always(f, &[Write], &Fault::Misplaced(16))),
        kind("torn writes", Silent, None, |f, _| always(f, &[Write], &Fault::Torn(50))),
        at_rest("shards in each other's place", |files, contents| {
            for (file, content) in files.iter().zip(contents.iter().cycle().skip(1)) {
                std::fs::write(file, content).unwrap();
            }
        }),
        at_rest("torn tails", |files, contents| {
            for (file, content) in files.iter().zip(contents) {
                std::fs::write(file, &content[..content.len() - 5000]).unwrap();
            }
        }),
        at_rest("wrong bytes at rest", |files, contents| {
            for (file, content) in files.iter().zip(contents) {
                let mut content = content.clone();
                content[4096..].iter_mut().step_by(1000).for_each(|byte| *byte ^= 8);
                std::fs::write(file, content).unwrap();
            }
        }),
    ]
}

/// An instance over volumes that fail on command.
pub struct Rig {
    pub f: Fixture,
    /// Of each volume, by its number less one.
    pub faults: Vec<Faults>,
    pub turn: usize,
}

/// What a request came to: whether it succeeded. Errors are clean ones.
fn clean<T: std::fmt::Debug, E>(what: &str, case: &str, outcome: Result<T, aws_sdk_s3::error::SdkError<E>>) -> Option<T>
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::fmt::Debug,
{
    match outcome {
        Ok(done) => Some(done),
        failed => {
            let (status, code) = error(failed);
            assert!(matches!(status, 500 | 503), "{case}: {what}: {status} {code}");
            None
        }
    }
}

impl Fixture {
    /// Has a volume fail on command.
    pub fn wrap(&self, row: &VolumeRow, limit: Option<Duration>) -> Faults {
        let identity = Identity {
            deployment: self.instance.deployment().to_owned(),
            volume: row.spec.id.clone(),
            slot: row.slot,
            epoch: row.epoch,
        };
        let volume = LocalVolume::open(&row.spec.path, identity, self.config.io.clone()).unwrap();
        let volume = match limit {
            Some(limit) => FaultVolume::with_limit(volume, limit),
            None => FaultVolume::new(volume),
        };
        let faults = volume.faults();
        let location = Location { node: "n".into(), zone: "z".into(), region: "r".into(), weight: 1.0 };
        self.store().chunks().volumes().insert(Member::new(Arc::new(volume), location));
        faults
    }
}

impl Rig {
    pub async fn new(f: Fixture) -> Self {
        let f = f
            .restart_with(|config| {
                // Few ids in a range: there is one to be swept for every combination.
                config.chunks = ChunkConfig { chunk_len: 2 * MIB as u64, ids_per_range: 16, ..ChunkConfig::default() };
            })
            .await;
        let mut faults = Vec::new();
        for row in f.store().metadata().volumes().await.unwrap() {
            faults.push(f.wrap(&row, Some(LIMIT)));
        }
        let rig = Self { f, faults, turn: 0 };
        rig.recover().await;
        rig.f.put("large", bytes(LARGE)).await;
        rig.f.put("small", bytes(SMALL)).await;
        rig.f.store().close_packs().await;
        rig
    }

    /// Has the volumes found well.
    pub async fn recover(&self) {
        let volumes = self.f.store().chunks().volumes();
        let deadline = Instant::now() + NOTHING_HANGS;
        loop {
            volumes.check_all().await;
            let well = |status| matches!(status, Status::Healthy | Status::Draining);
            if volumes.members().values().all(|member| well(member.status()) && !member.is_full()) {
                return;
            }
            assert!(Instant::now() < deadline, "{:?}", volumes.members());
        }
    }

    pub fn path(&self, volume: VolumeSlot, name: ShardName) -> PathBuf {
        self.f.dir.path().join(format!("v{}/shards/{:02x}/{name}", volume.0, name.chunk.fan_out()))
    }

    pub async fn try_put(&self, case: &str, key: &str, len: usize) -> bool {
        let put = self.f.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes(len)));
        clean(&format!("put {key}"), case, put.send().await).is_some()
    }

    /// Whether the object could be read; what could be is right.
    pub async fn try_get(&self, case: &str, key: &str, len: usize, range: Option<(usize, usize)>) -> bool {
        let get = self.f.s3.get_object().bucket(BUCKET).key(key);
        let (first, last) = range.unwrap_or((0, len - 1));
        let get = get.set_range(range.map(|(first, last)| format!("bytes={first}-{last}")));
        let Some(got) = clean(&format!("get {key}"), case, get.send().await) else { return false };
        // An answer that is cut is an error: its length was told.
        let Ok(body) = got.body.collect().await else { return false };
        assert!(body.to_vec() == bytes(len)[first..=last], "{case}: {key} {first}-{last} has a wrong byte");
        true
    }

    async fn try_part(&self, case: &str, key: &str, len: usize) -> bool {
        let s3 = &self.f.s3;
        let created = s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
        let upload = created.upload_id().unwrap();
        let part = s3.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(1);
        let part = part.body(ByteStream::from(bytes(len))).send().await;
        let Some(part) = clean(&format!("part of {key}"), case, part) else {
            s3.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(upload).send().await.unwrap();
            return false;
        };
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
        complete.multipart_upload(parts).send().await.unwrap();
        true
    }

    pub async fn reclaim(&self) {
        self.f.run(&Reclaim::new(self.f.store().clone(), Duration::ZERO)).await;
    }

    /// Heals until nothing waits for it.
    pub async fn heal_all(&self, case: &str) {
        for _ in 0..5 {
            if self.f.queued().await == 0 {
                return;
            }
            // What could not be healed a moment ago is due again.
            self.f.clock.advance(Duration::from_secs(7200));
            self.f.heal().await;
        }
        panic!("{case}: {} shards still wait for healing", self.f.queued().await);
    }

    /// Changes the files that these volumes have of the large object's first chunk; answers what was in them.
    pub async fn change_at_rest(
        &self,
        volumes: &[usize],
        change: fn(&[PathBuf], &[Vec<u8>]),
    ) -> Vec<(PathBuf, Vec<u8>)> {
        let row = self.f.chunks().await.into_iter().find(|row| !row.stored.packed).unwrap();
        let files = (0..SHARDS).filter_map(|shard| row.stored.placement.file(row.stored.id, shard));
        let (bad, good): (Vec<_>, Vec<_>) = files.partition(|(slot, _)| volumes.contains(&(usize::from(slot.0) - 1)));
        let files: Vec<PathBuf> = bad.into_iter().map(|(slot, name)| self.path(slot, name)).collect();
        let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let mut lent = contents.clone();
        if let [_] = lent.as_slice() {
            // There is no other that it could change places with: one that stays as it is lends its bytes.
            let other = good.into_iter().map(|(slot, name)| std::fs::read(self.path(slot, name)).unwrap());
            lent.extend(other.filter(|bytes| !bytes.is_empty()).take(1));
        }
        change(&files, &lent);
        files.into_iter().zip(contents).collect()
    }

    /// One way to fail, on so many volumes.
    async fn combination(&mut self, kind: &Kind, count: usize) {
        self.turn += 1;
        let bad: Vec<usize> = (0..count).map(|n| (self.turn * 5 + n * 2) % SHARDS).collect();
        let names: Vec<String> = bad.iter().map(|n| format!("v{}", n + 1)).collect();
        let case = &format!("{} of {names:?}", kind.name);
        let beyond = count > SHARDS - DATA_SHARDS;
        let f = &self.f;

        // A packed chunk that is to be compacted, and a shard that is to be healed.
        for n in 0..6 {
            f.put(&format!("sparse-{n}"), bytes(SMALL + n)).await;
        }
        f.store().close_packs().await;
        for n in 1..6 {
            f.s3.delete_object().bucket(BUCKET).key(format!("sparse-{n}")).send().await.unwrap();
        }
        self.reclaim().await;
        if count < SHARDS - DATA_SHARDS {
            let row = f.chunks().await.into_iter().find(|row| !row.stored.packed).unwrap();
            let (shard, slot) = (0..SHARDS)
                .filter_map(|shard| Some((shard, row.stored.placement.0[shard]?)))
                .find(|(_, slot)| !bad.contains(&(usize::from(slot.volume.0) - 1)))
                .unwrap();
            let (_, name) = row.stored.placement.file(row.stored.id, shard).unwrap();
            // Emptied, not removed: the volume may have it open.
            std::fs::write(self.path(slot.volume, name), b"").unwrap();
            f.store().metadata().queue_heal(row.stored.id, shard as u8, "emptied", f.clock.now()).await.unwrap();
        }
        // The volumes fail.
        let gate = Gate::default();
        let mut kept = Vec::new();
        match kind.how {
            How::Faults(fail) => bad.iter().for_each(|&n| fail(&self.faults[n], &gate)),
            How::AtRest(change) => kept = self.change_at_rest(&bad, change).await,
        }

        // Writes and reads, all at once.
        let (small, large, part, small_part, whole, range, packed) = tokio::join!(
            self.try_put(case, "new-small", SMALL),
            self.try_put(case, "new-large", LARGE),
            self.try_part(case, "new-part", PART),
            self.try_part(case, "new-small-part", SMALL),
            self.try_get(case, "large", LARGE, None),
            self.try_get(case, "large", LARGE, Some((MIB - 7, MIB + 70_000))),
            self.try_get(case, "small", SMALL, None),
        );
        let writes = [("new-small", SMALL, small), ("new-large", LARGE, large), ("new-part", PART, part)];
        let writes = [writes.as_slice(), &[("new-small-part", SMALL, small_part)]].concat();
        for (key, _, done) in &writes {
            match kind.writes {
                Effect::Error if beyond => assert!(!done, "{case}: {key} cannot have been written"),
                Effect::Perhaps if beyond => {}
                _ => assert!(done, "{case}: {key} could not be written"),
            }
        }
        let at_rest = matches!(kind.how, How::AtRest(_));
        // A range may do with the blocks of the others.
        for (what, done, hurt) in
            [("all", whole, true), ("a range", range, false), ("what is packed", packed, !at_rest)]
        {
            match kind.reads {
                Effect::Error if beyond && hurt => assert!(!done, "{case}: {what} cannot have been read"),
                Effect::Error | Effect::Perhaps if beyond => {}
                _ => assert!(done, "{case}: {what} could not be read"),
            }
        }
        // Compaction, unless it would have to believe what nobody can know to be wrong; and healing.
        let lossy = kind.writes == Effect::Silent && beyond;
        if !lossy {
            f.run(&Compact::new(f.store().clone())).await;
            assert!(
                self.try_get(case, "sparse-0", SMALL, None).await || beyond && kind.reads != Effect::None,
                "{case}"
            );
        }
        f.heal().await;
        if !beyond && kind.writes == Effect::Error {
            assert!(f.queued().await > 0, "{case}: shards that were not written are noted");
        }
        for (key, len, done) in &writes {
            let read = !*done || self.try_get(case, key, *len, None).await;
            assert!(read || beyond, "{case}: {key} cannot be read");
        }

        // They do well again.
        gate.open();
        self.faults.iter().for_each(Faults::clear);
        self.recover().await;
        if beyond {
            for (file, content) in kept {
                std::fs::write(file, content).unwrap();
            }
        }
        for (key, len, done) in &writes {
            if *done {
                let read = self.try_get(case, key, *len, None).await;
                assert!(read || lossy, "{case}: {key} cannot be read when all are back");
            } else {
                let head = f.s3.head_object().bucket(BUCKET).key(*key).send().await;
                assert_eq!(error(head).0, 404, "{case}: {key} was not written");
            }
        }
        assert!(self.try_get(case, "large", LARGE, None).await, "{case}: large is back");
        assert!(self.try_get(case, "small", SMALL, None).await, "{case}: small is back");
        assert!(self.try_get(case, "sparse-0", SMALL, None).await, "{case}: sparse-0 is back");
        f.store().close_packs().await;
        if lossy {
            self.remove_new().await;
        }
        if at_rest || kind.writes == Effect::Silent {
            // Nobody may have noticed so far.
            f.scrub().await;
            assert!(at_rest || lossy || f.queued().await > 0, "{case}: a scrub finds what is wrong");
        }
        self.heal_all(case).await;
        for (key, len, done) in writes.iter().filter(|_| !lossy) {
            assert!(!done || self.try_get(case, key, *len, None).await, "{case}: {key} after healing");
        }
        self.remove_new().await;
        self.assert_tidy(case).await;
    }

    /// Every shard is where its row says and verified, and no other file is left.
    pub async fn assert_tidy(&self, case: &str) {
        let f = &self.f;
        // What was being written when the volumes did not obey is swept once its instance has ended.
        f.close_in_sql().await;
        f.instance.heartbeat().beat().await;
        f.run(&Sweep::new(f.store().clone(), SweepConfig { again: Duration::ZERO, ..SweepConfig::default() })).await;
        self.reclaim().await;
        let missing = f.chunks().await.iter().map(|row| row.stored.missing.len()).sum::<usize>();
        assert_eq!(missing, 0, "{case}: every shard has been written by now");
        let summary = f.assert_well().await;
        let files: usize = (1..=self.faults.len() as u16).map(|n| f.files_on(n).len()).sum();
        assert_eq!(summary.files, files as u64, "{case}: a file is left that no row names: {summary:?}");
        assert_eq!(summary.unhealed, 0, "{case}");
    }

    /// Takes away what a combination has written.
    async fn remove_new(&self) {
        for key in ["new-small", "new-large", "new-part", "new-small-part", "sparse-0"] {
            self.f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        self.f.store().close_packs().await;
        self.reclaim().await;
    }
}

/// Goes through all kinds of failing, on as many volumes as `counts` says for the number of the kind.
async fn go_through(f: Fixture, counts: impl Fn(usize) -> Vec<usize>) {
    let mut rig = Rig::new(f).await;
    let rounds = std::env::var("NINEFOLD_FAULT_ROUNDS").map(|rounds| rounds.parse().expect("a number of rounds"));
    let mut combinations = 0;
    for _ in 0..rounds.clone().unwrap_or(1) {
        for (number, kind) in kinds().iter().enumerate() {
            let counts = if rounds.is_ok() { vec![1, 2, 3, 4] } else { counts(number) };
            for count in counts {
                let started = Instant::now();
                eprintln!("{} of {count}", kind.name);
                let run = rig.combination(kind, count);
                tokio::time::timeout(NOTHING_HANGS, run).await.expect("nothing hangs");
                eprintln!("    {:.1} s", started.elapsed().as_secs_f32());
                combinations += 1;
            }
        }
    }
    eprintln!("{combinations} combinations");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_three_volumes_may_fail_in_any_way_and_a_fourth_is_a_clean_error() {
    go_through(Fixture::sqlite().await, |_| vec![3, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_may_fail_in_any_way_on_postgres() {
    go_through(Fixture::postgres().await, |number| vec![1 + number % 2]).await;
}
