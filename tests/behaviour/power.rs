//! The power is cut at random moments: what was acknowledged is there when it is back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use ninefold::chunks::{ChunkConfig, ChunkStore};
use ninefold::clock::Clock;
use ninefold::maintenance::{Compact, Job, Reclaim, run_once};
use ninefold::metadata::{
    ChecksumAlgorithm, DatabaseConfig, DeleteKey, Headers, Metadata, ObjectLock, ReadRange, StorageClass, Tags,
    UploadTemplate, WriteCondition,
};
use ninefold::objects::{
    BucketDefaults, CompletePart, CompleteRequest, CreateBucket, DeleteRequest, Expected, GetRequest, Lifeline,
    MetadataLedger, PackConfig, PartRequest, PutRequest, ReadConditions, StartUpload, Store,
};
use ninefold::volumes::power::{Power, PowerVolume};
use ninefold::volumes::{Identity, IoConfig, LocalVolume, Location, Member, Volume, VolumeSet};
use tokio::task::JoinSet;

use crate::fixture::{BUCKET, bytes, spec};

/// What a key may hold: one value if the last operation on it was answered, else either of two.
type Known = HashMap<String, Vec<Option<usize>>>;

struct Machine {
    store: Store,
    power: Power,
    instance: ninefold::metadata::InstanceId,
}

impl Machine {
    /// Switches it on, with what the cut has left.
    async fn on(dir: &Path) -> Self {
        let power = Power::default();
        let config = DatabaseConfig {
            url: format!("sqlite:{}", dir.join("metadata.sqlite").display()),
            max_connections: 8,
            connect_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(30),
        };
        let metadata = Metadata::connect(&config).await.unwrap();
        let deployment = metadata.deployment("test").await.unwrap();
        let rows = metadata.register_volumes(&(1..=9).map(|n| spec(dir, n)).collect::<Vec<_>>()).await.unwrap();
        let mut members = Vec::new();
        for row in rows {
            let path = Path::new(&row.spec.path).to_owned();
            let identity =
                Identity { deployment: deployment.clone(), volume: row.spec.id, slot: row.slot, epoch: row.epoch };
            if !row.formatted {
                LocalVolume::format(&path, &identity).unwrap();
                metadata.set_formatted(row.slot).await.unwrap();
            }
            let io = IoConfig { threads: 1, ..IoConfig::default() };
            let volume = PowerVolume::new(LocalVolume::open(&path, identity, io).unwrap(), path, &power);
            volume.probe().await.unwrap();
            let location = Location { node: "n".into(), zone: "z".into(), region: "r".into(), weight: 1.0 };
            members.push(Member::new(Arc::new(volume), location));
        }
        let volumes = VolumeSet::new(members);
        volumes.check_all().await;
        let instance = metadata.register_instance().await.unwrap();
        let lifeline = Lifeline::new(Duration::from_secs(3600));
        let number = Arc::new(AtomicI64::new(instance.0));
        let ledger = MetadataLedger::new(metadata.clone(), number, lifeline, Clock::system());
        let config = ChunkConfig { chunk_len: 2 << 20, ..ChunkConfig::default() };
        let chunks = ChunkStore::new(volumes, Arc::new(ledger), config).unwrap();
        // Small enough for both ways to be taken.
        let pack = PackConfig { pack_max: 20_000, ..PackConfig::default() };
        Self { store: Store::new(metadata, chunks, Clock::system(), &pack), power, instance }
    }

    async fn run(&self, job: &dyn Job) {
        // With the power gone it fails.
        _ = run_once(self.store.metadata(), self.instance, job).await;
    }
}

fn whole(len: usize) -> ninefold::chunks::Body {
    Box::pin(stream::iter([Ok(Bytes::from(bytes(len)))]))
}

async fn put(store: &Store, key: &str, len: usize) -> bool {
    let request = PutRequest {
        bucket: BUCKET.into(),
        key: key.into(),
        headers: Headers::default(),
        tags: Tags::new(),
        owner: "owner".into(),
        lock: ObjectLock::default(),
        acl: None,
        storage_class: StorageClass::Standard,
        condition: WriteCondition::default(),
        expected: Expected { len: Some(len as u64), ..Expected::default() },
        body: whole(len),
    };
    store.put(request).await.is_ok()
}

async fn put_in_a_part(store: &Store, key: &str, len: usize) -> bool {
    let template = UploadTemplate {
        key: key.into(),
        headers: Headers::default(),
        tags: Tags::new(),
        owner: "owner".into(),
        initiator: "owner".into(),
        checksum: None,
        lock: ObjectLock::default(),
        acl: None,
        storage_class: StorageClass::Standard,
    };
    let start = StartUpload { bucket: BUCKET.into(), template, algorithm: None::<ChecksumAlgorithm>, kind: None };
    let Ok(upload) = store.start_upload(start).await else { return false };
    let (bucket, key) = (BUCKET.to_owned(), key.to_owned());
    let part = PartRequest {
        bucket: bucket.clone(),
        key: key.clone(),
        upload: upload.id.clone(),
        number: 1,
        expected: Expected::default(),
        body: whole(len),
    };
    let Ok(part) = store.put_part(part).await else { return false };
    let parts = vec![CompletePart { number: 1, etag: part.etag, checksums: vec![] }];
    let complete = CompleteRequest {
        bucket,
        key,
        upload: upload.id,
        parts,
        checksum: None,
        kind: None,
        size: None,
        condition: WriteCondition::default(),
    };
    store.complete_upload(complete).await.is_ok()
}

async fn get(store: &Store, key: &str) -> Option<Vec<u8>> {
    let request = GetRequest {
        bucket: BUCKET.into(),
        key: key.into(),
        version: None,
        range: ReadRange::Whole,
        conditions: ReadConditions::default(),
        with_body: true,
    };
    match store.get(&request).await {
        Ok(got) => {
            let pieces: Vec<Bytes> = got.body.try_collect().await.unwrap();
            Some(pieces.concat())
        }
        Err(ninefold::objects::Error::Metadata(ninefold::metadata::Error::NoSuchKey { .. })) => None,
        Err(error) => panic!("{key}: {error}"),
    }
}

/// Works on keys of its own until the power is gone, and keeps what it knows of them.
async fn client(store: Store, name: usize, seed: u64, known: Arc<Mutex<Known>>) {
    let mut chance = chances(seed ^ (name as u64) << 32);
    for _ in 0..200 {
        let key = format!("{name}/{}", chance(6));
        let before = known.lock().unwrap().get(&key).cloned().unwrap_or_else(|| vec![None]);
        let what = chance(10);
        let len = [0, 1, 700, 19_999, 20_001, 100_000, 400_000][chance(7) as usize];
        let wanted = if what == 0 { None } else { Some(len) };
        // Until there is an answer, it may be either.
        let mut either = before;
        either.push(wanted);
        known.lock().unwrap().insert(key.clone(), either);
        let done = match what {
            0 => {
                let keys = vec![DeleteKey { key: key.clone(), ..DeleteKey::default() }];
                let deleted = store.delete(DeleteRequest { bucket: BUCKET.into(), keys, owner: "owner".into() }).await;
                deleted.is_ok_and(|outcome| outcome.iter().all(Result::is_ok))
            }
            1 | 2 => put_in_a_part(&store, &key, len).await,
            _ => put(&store, &key, len).await,
        };
        if !done {
            return;
        }
        known.lock().unwrap().insert(key, vec![wanted]);
    }
}

/// Numbers below what is asked, the same for the same seed.
fn chances(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_cuts_of_the_power() {
    let cuts = std::env::var("NINEFOLD_POWER_CUTS").map_or(4, |cuts| cuts.parse().unwrap());
    let seed = std::env::var("NINEFOLD_SEED")
        .map_or_else(|_| u64::from_le_bytes(ninefold::clock::random_bytes()) % 1_000_000, |seed| seed.parse().unwrap());
    eprintln!("NINEFOLD_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let known = Arc::new(Mutex::new(Known::new()));
    for cut in 0..cuts {
        let machine = Machine::on(dir.path()).await;
        if cut == 0 {
            let bucket = CreateBucket::new(BUCKET, "us-east-1", "owner", BucketDefaults::default());
            machine.store.create_bucket(bucket).await.unwrap();
        }
        let seed = seed.wrapping_add(cut * 1000);
        let mut clients = JoinSet::new();
        for name in 0..6 {
            clients.spawn(client(machine.store.clone(), name, seed, Arc::clone(&known)));
        }
        let mut chance = chances(seed ^ 77);
        tokio::time::sleep(Duration::from_millis(100 + chance(1500))).await;
        if chance(2) == 0 {
            machine.run(&Reclaim::new(machine.store.clone(), Duration::ZERO)).await;
            machine.run(&Compact::new(machine.store.clone())).await;
        }
        machine.power.cut(&mut chance).await.unwrap();
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        // What the next start does with this one, whose instance never ended.
        machine.store.metadata().close_instance(machine.instance).await.unwrap();
        machine.store.metadata().close().await;
        drop(machine);

        let machine = Machine::on(dir.path()).await;
        let expected = known.lock().unwrap().clone();
        for (key, either) in expected {
            let found = get(&machine.store, &key).await;
            let fits = either.iter().any(|len| found == len.map(bytes));
            assert!(fits, "cut {cut} of seed {seed}: {key} has {:?} bytes, not {either:?}", found.map(|b| b.len()));
            // From now on it is known.
            known.lock().unwrap().insert(key, vec![found.map(|found| found.len())]);
        }
        machine.store.close_packs().await;
        machine.store.metadata().close_instance(machine.instance).await.unwrap();
        machine.store.metadata().close().await;
    }
}
