#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::format::{HEADER_LEN, Header, Trailer, encode_stripe, stripe_position};
use super::*;
use crate::layout::{NewData, PlacedExtent, SHARDS, STRIPE_LEN, ShardName};
use crate::volumes::fault::{Fault, FaultVolume, Faults, Gate, Operation};
use crate::volumes::{Identity, IoConfig, LocalVolume, Location, Member, Volume};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

#[derive(Debug, Default)]
struct MemoryLedger {
    next: AtomicU64,
    moved: Mutex<BTreeMap<ChunkId, Placement>>,
    bad: Mutex<Vec<(ChunkId, u8)>>,
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn reserve(&self, count: u32) -> Result<IdRange, LedgerError> {
        let first = self.next.fetch_add(u64::from(count), Ordering::SeqCst) + 1;
        Ok(IdRange { first, last: first + u64::from(count) - 1, nonce: 77 })
    }
    fn check_alive(&self) -> Result<(), LedgerError> {
        Ok(())
    }
    async fn placement(&self, chunk: ChunkId) -> Result<Option<Placement>, LedgerError> {
        Ok(self.moved.lock().unwrap().get(&chunk).copied())
    }
    fn note_bad_shard(&self, chunk: ChunkId, shard: u8, _: &str) {
        self.bad.lock().unwrap().push((chunk, shard));
    }
}

struct Rig {
    dir: tempfile::TempDir,
    faults: Vec<Faults>,
    ledger: Arc<MemoryLedger>,
    store: ChunkStore,
}

/// Keeps a copy of what it saw.
#[derive(Default)]
struct Copy(Vec<u8>);

impl Digest for Copy {
    fn update(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

const SMALL_CHUNK: u64 = 2 << 20;

impl Rig {
    async fn new(volumes: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut faults = Vec::new();
        let mut members = Vec::new();
        for n in 1..=volumes {
            let name = format!("v{n}");
            let identity = Identity { deployment: "test".into(), volume: name.clone(), slot: VolumeSlot(n), epoch: 0 };
            let path = dir.path().join(&name);
            LocalVolume::format(&path, &identity).unwrap();
            let local = LocalVolume::open(path, identity, IoConfig { threads: 1, ..IoConfig::default() }).unwrap();
            local.probe().await.unwrap();
            let volume = FaultVolume::new(local);
            faults.push(volume.faults());
            let location = Location { node: name.clone().into(), zone: "z".into(), region: "r".into(), weight: 1.0 };
            members.push(Member::new(Arc::new(volume), location));
        }
        let ledger = Arc::new(MemoryLedger::default());
        let config = ChunkConfig { chunk_len: SMALL_CHUNK, ..ChunkConfig::default() };
        let store = ChunkStore::new(VolumeSet::new(members), ledger.clone(), config).unwrap();
        Self { dir, faults, ledger, store }
    }

    async fn put(&self, bytes: &[u8]) -> Result<NewData, ChunkError> {
        let pieces: Vec<_> = bytes.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let (data, copy) = self.store.write(owner(), Box::pin(stream::iter(pieces)), Copy::default()).await?;
        assert!(copy.0 == bytes, "the digest saw other bytes");
        Ok(data)
    }

    async fn get(&self, data: &NewData, range: ByteRange) -> Result<Vec<u8>, ChunkError> {
        let extents: Vec<_> = placed(data).into_iter().map(Ok).collect();
        let pieces: Vec<Bytes> = self.store.read(stream::iter(extents), range).try_collect().await?;
        Ok(pieces.concat())
    }

    fn vanish(&self, volumes: &[usize], vanished: bool) {
        for &volume in volumes {
            self.faults[volume].vanish(vanished);
        }
    }

    /// Every shard file there is.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for volume in std::fs::read_dir(self.dir.path()).unwrap() {
            for fan_out in std::fs::read_dir(volume.unwrap().path().join("shards")).unwrap() {
                files.extend(std::fs::read_dir(fan_out.unwrap().path()).unwrap().map(|f| f.unwrap().path()));
            }
        }
        files
    }

    fn path(&self, data: &NewData, chunk: usize, shard: usize) -> PathBuf {
        let chunk = &data.chunks[chunk];
        let (slot, name) = chunk.placement.file(chunk.id, shard).unwrap();
        let fan_out = format!("{:02x}", chunk.id.fan_out());
        self.dir.path().join(format!("v{}", slot.0)).join("shards").join(fan_out).join(name.to_string())
    }

    fn edit(&self, path: &PathBuf, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }
}

fn owner() -> Owner {
    Owner { bucket: "b".into(), key: "k".into(), part: 0 }
}

fn placed(data: &NewData) -> Vec<PlacedExtent> {
    let each = data.chunks.iter().zip(&data.extents).map(|(chunk, extent)| PlacedExtent {
        extent: *extent,
        packed: false,
        chunk_len: chunk.len,
        placement: chunk.placement,
        missing: chunk.missing,
    });
    each.collect()
}

fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn combinations(of: usize, choose: usize) -> Vec<Vec<usize>> {
    (0u32..1 << of)
        .filter(|set| set.count_ones() as usize == choose)
        .map(|set| (0..of).filter(|i| set & (1 << i) != 0).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_whatever_its_length() {
    let rig = Rig::new(9).await;
    let stripe = STRIPE_LEN as usize;
    for len in
        [0, 1, 5, 6, 7, 1000, 32 << 10, (32 << 10) + 1, stripe - 1, stripe, stripe + 1, 2 * stripe, 5 * stripe + 3]
    {
        let content = bytes(len);
        let data = rig.put(&content).await.unwrap();
        assert_eq!(data.len, len as u64);
        assert_eq!(data.chunks.len() as u64, (len as u64).div_ceil(SMALL_CHUNK));
        assert!(data.chunks.iter().all(|c| c.missing.is_empty()));
        assert!(rig.get(&data, 0..len as u64).await.unwrap() == content, "{len}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_ranges_equal_slices_healthy_and_with_any_three_volumes_gone() {
    let rig = Rig::new(9).await;
    let content = bytes(4_500_001);
    let data = rig.put(&content).await.unwrap();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % 4_500_001
    };
    let mut check = async |gone: &[usize]| {
        for _ in 0..8 {
            let (a, b) = (random(), random());
            let (start, end) = (a.min(b), a.max(b) + 1);
            let read = rig.get(&data, start as u64..end as u64).await.unwrap();
            assert!(read == content[start..end], "{start}..{end} without {gone:?}");
        }
    };
    check(&[]).await;
    for gone in combinations(9, 3).into_iter().step_by(7) {
        rig.vanish(&gone, true);
        check(&gone).await;
        rig.vanish(&gone, false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_three_volumes_may_go_and_a_fourth_is_an_error() {
    let rig = Rig::new(9).await;
    let content = bytes(10_000);
    let data = rig.put(&content).await.unwrap();
    for gone in combinations(9, 3) {
        rig.vanish(&gone, true);
        assert!(rig.get(&data, 0..10_000).await.unwrap() == content, "{gone:?}");
        rig.vanish(&gone, false);
    }
    for gone in combinations(9, 4) {
        rig.vanish(&gone, true);
        match rig.get(&data, 0..10_000).await {
            // Four volumes that hold three parity shards and one data shard still leave five data shards: too few.
            Err(ChunkError::TooFewRead { found, .. }) => assert!(found < 6),
            other => panic!("{gone:?}: {:?}", other.map(|b| b.len())),
        }
        rig.vanish(&gone, false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_truncated_and_absent_shards_are_rebuilt_and_noted_and_never_shown() {
    let rig = Rig::new(9).await;
    let content = bytes(3_000_000);
    let data = rig.put(&content).await.unwrap();
    let at = HEADER_LEN as usize + 500;
    rig.edit(&rig.path(&data, 0, 0), |file| file[at] ^= 1);
    rig.edit(&rig.path(&data, 0, 2), |file| file.truncate(at));
    std::fs::remove_file(rig.path(&data, 0, 4)).unwrap();
    assert!(rig.get(&data, 0..3_000_000).await.unwrap() == content);
    let chunk = data.chunks[0].id;
    let mut noted: Vec<_> = rig.ledger.bad.lock().unwrap().clone();
    noted.sort_unstable();
    noted.dedup();
    assert_eq!(noted, [(chunk, 0), (chunk, 2), (chunk, 4)]);
    rig.edit(&rig.path(&data, 0, 7), |file| file[at] ^= 0x80);
    assert!(matches!(rig.get(&data, 0..3_000_000).await, Err(ChunkError::TooFewRead { found: 5, .. })));
    // The second chunk is whole.
    assert!(rig.get(&data, SMALL_CHUNK..3_000_000).await.unwrap() == content[SMALL_CHUNK as usize..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_another_write_or_another_place_are_not_decoded() {
    let rig = Rig::new(9).await;
    let content = bytes(600);
    let data = rig.put(&content).await.unwrap();
    // A stale block: right place, right checksum, another write's bytes.
    let position = stripe_position(0, STRIPE_LEN);
    let stale =
        encode_stripe(&Codec::new().unwrap(), data.chunks[0].id, position, 1, &[bytes(601)[..600].to_vec().into()]);
    let stale = stale.unwrap();
    for shard in [1, 3, 5] {
        let block = stale.blocks[shard].clone();
        rig.edit(&rig.path(&data, 0, shard), |file| file[HEADER_LEN as usize..][..block.len()].copy_from_slice(&block));
    }
    assert!(rig.get(&data, 0..600).await.unwrap() == content);
    // A misplaced file: another shard's bytes under this shard's name.
    let other = std::fs::read(rig.path(&data, 0, 0)).unwrap();
    std::fs::write(rig.path(&data, 0, 1), other).unwrap();
    assert!(rig.get(&data, 0..600).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_moved_is_found_at_its_new_place() {
    let rig = Rig::new(9).await;
    let content = bytes(5_000);
    let mut data = rig.put(&content).await.unwrap();
    let real = data.chunks[0].placement;
    rig.ledger.moved.lock().unwrap().insert(data.chunks[0].id, real);
    // The reader resolved its extents while four shards were elsewhere.
    for shard in 0..4 {
        data.chunks[0].placement.0[shard].as_mut().unwrap().generation = 9;
    }
    assert!(rig.get(&data, 0..5_000).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_three_failed_shards_are_noted_and_a_fourth_leaves_nothing() {
    let content = bytes(2_500_000);
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        for failing in 1..=4 {
            let rig = Rig::new(9).await;
            for faults in &rig.faults[..failing] {
                faults.always(operation, Fault::Io(5));
            }
            let outcome = rig.put(&content).await;
            if failing <= 3 {
                let data = outcome.unwrap();
                assert_eq!(data.chunks[0].missing.len(), failing, "{operation:?}");
                for faults in &rig.faults {
                    faults.clear();
                }
                assert!(rig.get(&data, 0..2_500_000).await.unwrap() == content);
            } else {
                assert!(outcome.is_err(), "{operation:?}");
                assert_eq!(rig.files(), Vec::<PathBuf>::new(), "{operation:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_cannot_be_created_go_to_other_volumes() {
    let rig = Rig::new(12).await;
    let content = bytes(100_000);
    for faults in &rig.faults[..3] {
        faults.always(Operation::Create, Fault::Full);
    }
    let data = rig.put(&content).await.unwrap();
    assert!(data.chunks[0].missing.is_empty());
    let slots: std::collections::BTreeSet<_> = data.chunks[0].placement.0.iter().map(|s| s.unwrap().volume).collect();
    assert_eq!(slots.len(), SHARDS);
    assert!(slots.iter().all(|slot| slot.0 > 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_fails_leaves_no_file() {
    let rig = Rig::new(9).await;
    let error = || BodyError("the client went away".into());
    for before in [0, 1, 1 << 20, 5 << 20] {
        let pieces = vec![Ok(Bytes::from(bytes(before))), Err(error())];
        let outcome = rig.store.write(owner(), Box::pin(stream::iter(pieces)), Copy::default()).await;
        assert!(matches!(outcome, Err(ChunkError::Body(_))));
        assert_eq!(rig.files(), Vec::<PathBuf>::new(), "after {before} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_volume_holds_up_no_read_beyond_the_hedge() {
    let rig = Rig::new(9).await;
    let content = bytes(700_000);
    let data = rig.put(&content).await.unwrap();
    let gate = Gate::default();
    for faults in &rig.faults[..3] {
        faults.always(Operation::Read, Fault::Hang(gate.clone()));
    }
    assert!(rig.get(&data, 0..700_000).await.unwrap() == content);
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_shard_says_itself_what_it_is_and_that_it_is_whole() {
    let rig = Rig::new(9).await;
    let data = rig.put(&bytes(1_500_000)).await.unwrap();
    for shard in 0..SHARDS {
        let file = std::fs::read(rig.path(&data, 0, shard)).unwrap();
        let header = Header::decode(&file).unwrap();
        let name = ShardName { chunk: data.chunks[0].id, shard: shard as u8, generation: 0 };
        assert_eq!((header.name, header.owner), (name, owner()));
        let trailer = Trailer::decode(&file[file.len() - 64..]).unwrap();
        assert_eq!((trailer.name, trailer.chunk_len, trailer.blocks), (name, 1_500_000, 2));
        assert_eq!(trailer.position as usize, file.len() - 64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_tiny_pieces_is_gathered() {
    let rig = Rig::new(9).await;
    let content = bytes(150_000);
    let pieces: Vec<_> = content.chunks(1).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let (data, _) = rig.store.write(owner(), Box::pin(stream::iter(pieces).boxed()), Copy::default()).await.unwrap();
    assert!(rig.get(&data, 0..150_000).await.unwrap() == content);
}
