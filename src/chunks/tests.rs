#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::format::{HEADER_LEN, Header, Trailer, encode_stripe, stripe_position};
use super::*;
use crate::layout::{Extent, NewData, PlacedExtent, SHARDS, STRIPE_LEN, ShardName};
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
        let pieces: Vec<Bytes> =
            self.store.read(stream::iter(extents), range, self.store.reads().begin()).try_collect().await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn hung_volumes_are_given_up_and_what_they_do_later_changes_nothing() {
    let rig = Rig::new(10).await;
    let content = bytes(1 << 20);
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let gate = Gate::default();
        rig.faults[0].next(operation, [Fault::Hang(gate.clone())]);
        let data = rig.put(&content).await.unwrap();
        let hung = data.chunks.iter().filter(|chunk| chunk.placement.0.iter().any(|slot| slot.unwrap().volume.0 == 1));
        for chunk in hung {
            let shard = chunk.placement.0.iter().position(|slot| slot.unwrap().volume.0 == 1).unwrap();
            // One that could not be created has gone to the tenth volume.
            assert!(chunk.missing.contains(shard) || operation == Operation::Create, "{operation:?}");
        }
        assert_eq!(rig.get(&data, 0..1 << 20).await.unwrap(), content);
        gate.open();
        // Late, but done: the file that nobody knows is removed again.
        let member = rig.store.volumes().get(VolumeSlot(1)).unwrap();
        for _ in 0..3 {
            member.check().await.unwrap();
        }
        assert_eq!(rig.get(&data, 0..1 << 20).await.unwrap(), content);
        rig.store.discard(&data.chunks).await;
        for _ in 0..100 {
            if rig.files().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(rig.files().is_empty(), "{operation:?}: {:?}", rig.files());
    }
}

fn entry(len: usize) -> Entry {
    let header = EntryHeader { owner: owner(), modified: 7, len: len as u32 };
    Entry { header, pieces: vec![bytes(len / 2).into(), bytes(len - len / 2).into()] }
}

async fn unpack(rig: &Rig, pack: &Pack, extent: Extent) -> Result<Vec<u8>, ChunkError> {
    let placed = PlacedExtent {
        extent,
        packed: true,
        chunk_len: pack.len(),
        placement: pack.placement(),
        missing: pack.missing(),
    };
    let pieces: Vec<Bytes> =
        rig.store.read(stream::iter([Ok(placed)]), 0..extent.len, rig.store.reads().begin()).try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_entries_are_read_back_with_any_three_volumes_gone() {
    let rig = Rig::new(9).await;
    let mut pack = rig.store.open_pack().await.unwrap();
    let mut all = Vec::new();
    for lens in [vec![1], vec![5, 6, 7, 1000], vec![300_000, 200_000, 3], vec![Entry::MAX_LEN - 100]] {
        let entries: Vec<Entry> = lens.into_iter().map(entry).collect();
        let extents = pack.append(&entries).await.unwrap();
        pack.set_committed();
        all.extend(entries.into_iter().zip(extents));
    }
    for lost in combinations(9, 3).into_iter().step_by(5) {
        rig.vanish(&lost, true);
        for (entry, extent) in &all {
            assert_eq!(unpack(&rig, &pack, *extent).await.unwrap(), entry.pieces.concat(), "{lost:?}");
        }
        rig.vanish(&lost, false);
    }
    // Stripes follow one another without a hole, each with its length in its blocks' headers, and a trailer at the end.
    let (id, end, len) = (pack.id(), pack.end(), pack.len());
    let (slot, name) = pack.placement().file(id, 0).unwrap();
    let path = rig.dir.path().join(format!("v{}/shards/{:02x}/{name}", slot.0, id.fan_out()));
    pack.seal().await;
    let file = Bytes::from(std::fs::read(path).unwrap());
    assert_eq!(Header::decode(&file).unwrap().stripe_len, 0);
    let (mut at, mut stripes) = (HEADER_LEN, 0);
    while at < end {
        let stripe_len = u32::from_le_bytes(file[at as usize + 4..at as usize + 8].try_into().unwrap());
        let next = at + format::block_size(stripe_len);
        format::verify_block(id, 0, at, stripe_len, file.slice(at as usize..next as usize)).unwrap();
        (at, stripes) = (next, stripes + 1);
    }
    let trailer = Trailer::decode(&file[end as usize..]).unwrap();
    assert_eq!((at, trailer.position, trailer.blocks, trailer.chunk_len), (end, end, stripes, len));
    let (first, header_len) =
        EntryHeader::decode(&file[HEADER_LEN as usize + 32..]).map_or((None, 0), |(h, n)| (Some(h), n));
    // Only if the header of the first entry lies within the first block.
    assert!(first.is_none_or(|header| header == all[0].0.header && header_len > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_loses_up_to_three_shards_for_good_and_is_of_no_use_without_a_fourth() {
    for operation in [Operation::Write, Operation::Sync] {
        for fault in [Fault::Io(5), Fault::Short(10), Fault::DoneButFailed, Fault::Full] {
            let rig = Rig::new(9).await;
            let mut pack = rig.store.open_pack().await.unwrap();
            let before = pack.append(&[entry(500)]).await.unwrap()[0];
            pack.set_committed();
            for volume in 0..3 {
                rig.faults[volume].next(operation, [fault.clone()]);
            }
            let during = pack.append(&[entry(600)]).await.unwrap()[0];
            assert_eq!(pack.missing().len(), 3, "{operation:?} {fault:?}");
            assert!(pack.is_done());
            let calls: Vec<u64> = rig.faults.iter().map(|faults| faults.calls(Operation::Write)).collect();
            let after = pack.append(&[entry(700)]).await.unwrap()[0];
            for (faults, &calls) in rig.faults.iter().zip(&calls).take(3) {
                assert_eq!(faults.calls(Operation::Write), calls, "it is not written to any more");
            }
            for (extent, len) in [(before, 500), (during, 600), (after, 700)] {
                assert_eq!(unpack(&rig, &pack, extent).await.unwrap(), entry(len).pieces.concat());
            }
            rig.faults[3].next(operation, [fault.clone()]);
            let error = pack.append(&[entry(800)]).await.unwrap_err();
            assert!(matches!(error, ChunkError::TooFewWritten { written: 5, .. }), "{error}");
            pack.abandon().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_not_held_up_by_a_hung_volume() {
    let rig = Rig::new(9).await;
    let mut pack = rig.store.open_pack().await.unwrap();
    let gate = Gate::default();
    rig.faults[4].always(Operation::Sync, Fault::Hang(gate.clone()));
    let extent = pack.append(&[entry(5000)]).await.unwrap()[0];
    assert_eq!((pack.missing().len(), pack.is_done()), (1, true));
    assert_eq!(unpack(&rig, &pack, extent).await.unwrap(), entry(5000).pieces.concat());
    // The next one is placed around it.
    let next = rig.store.open_pack().await.unwrap();
    assert_eq!(next.placement().0.iter().flatten().filter(|slot| slot.volume.0 == 5).count(), 0);
    gate.open();
}

fn stored(chunk: &NewChunk) -> crate::layout::StoredChunk {
    let NewChunk { id, len, end, placement, missing } = *chunk;
    crate::layout::StoredChunk { id, packed: false, placement, missing, len, end }
}

/// The first chunk of two MiB, of which shard 2 is to be written anew where it was.
async fn with_a_lost_shard() -> (Rig, NewData, Target, PathBuf, Vec<u8>) {
    let rig = Rig::new(9).await;
    let data = rig.put(&bytes(3 << 20)).await.unwrap();
    let path = rig.path(&data, 0, 2);
    let content = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let place = data.chunks[0].placement.0[2].unwrap();
    let target = Target { shard: 2, to: crate::layout::Slot { generation: 1, ..place }, source: Source::Others };
    let new = path.with_file_name(format!("{}.2.1", data.chunks[0].id));
    (rig, data, target, new, content)
}

#[tokio::test]
async fn a_shard_is_written_anew_with_three_volumes_in_trouble() {
    let (rig, data, target, path, content) = with_a_lost_shard().await;
    let chunk = stored(&data.chunks[0]);
    let faults = |shard: usize| &rig.faults[usize::from(chunk.placement.0[shard].unwrap().volume.0) - 1];
    faults(0).always(Operation::Read, Fault::Io(5));
    faults(1).always(Operation::Read, Fault::Flip { offset: 200_000, mask: 1 });
    let rewritten = rig.store.rewrite(&chunk, &[target], &Pace::new(0)).await.unwrap();
    assert_eq!((rewritten.written.as_slice(), rewritten.failed.len()), (&[target][..], 0));
    let new = std::fs::read(&path).unwrap();
    let (blocks, end) = (HEADER_LEN as usize, chunk.end as usize);
    assert!(new[blocks..end] == content[blocks..end], "the blocks are what they were");
    assert_eq!(Header::decode(&new).unwrap().owner, owner());
    assert_eq!(Header::decode(&new).unwrap().name.generation, 1);
    assert_eq!(Trailer::decode(&new[end..]).unwrap().chunk_len, chunk.len);
    // With one more, no byte is made up, and nothing is left.
    std::fs::remove_file(&path).unwrap();
    faults(4).vanish(true);
    let error = rig.store.rewrite(&chunk, &[target], &Pace::new(0)).await.unwrap_err();
    assert!(matches!(error, ChunkError::TooFewRead { found: 5, .. }), "{error}");
    assert!(!path.exists());
    faults(4).vanish(false);
    rig.store.rewrite(&chunk, &[target], &Pace::new(0)).await.unwrap();
}

#[tokio::test]
async fn a_shard_that_cannot_be_written_or_read_back_is_none() {
    let (rig, data, target, path, _) = with_a_lost_shard().await;
    let chunk = stored(&data.chunks[0]);
    let faults = &rig.faults[usize::from(target.to.volume.0) - 1];
    for (operation, fault) in [
        (Operation::Create, Fault::Io(5)),
        (Operation::Write, Fault::Full),
        (Operation::Write, Fault::Short(100)),
        (Operation::Sync, Fault::Io(5)),
        // What is read back is not what was written.
        (Operation::Read, Fault::Flip { offset: 5000, mask: 4 }),
    ] {
        faults.always(operation, fault.clone());
        let rewritten = rig.store.rewrite(&chunk, &[target], &Pace::new(0)).await.unwrap();
        assert_eq!((rewritten.written.len(), rewritten.failed.len()), (0, 1), "{operation:?} {fault:?}");
        assert!(!path.exists(), "{operation:?} {fault:?}");
        faults.always(operation, Fault::None);
    }
    assert_eq!(rig.store.rewrite(&chunk, &[target], &Pace::new(0)).await.unwrap().written, [target]);
}

#[tokio::test]
async fn a_shard_that_moves_is_read_from_itself_and_rebuilt_where_that_is_bad() {
    let rig = Rig::new(10).await;
    let data = rig.put(&bytes(2 << 20)).await.unwrap();
    let chunk = stored(&data.chunks[0]);
    let used: Vec<_> = chunk.placement.0.iter().flatten().map(|slot| slot.volume).collect();
    let free = (1..=10).map(VolumeSlot).find(|volume| !used.contains(volume)).unwrap();
    let path = rig.path(&data, 0, 7);
    let content = std::fs::read(&path).unwrap();
    let target =
        |generation| Target { shard: 7, to: crate::layout::Slot { volume: free, generation }, source: Source::Itself };
    let rewritten = rig.store.rewrite(&chunk, &[target(1)], &Pace::new(0)).await.unwrap();
    assert_eq!(rewritten.written, [target(1)]);
    assert_eq!(rewritten.bytes, 3 * chunk.end - HEADER_LEN, "read once, written once, read back once");
    rig.edit(&path, |file| file[HEADER_LEN as usize + 200_000] ^= 1);
    assert_eq!(rig.store.rewrite(&chunk, &[target(2)], &Pace::new(0)).await.unwrap().written, [target(2)]);
    for generation in [1, 2] {
        let fan_out = format!("{:02x}", chunk.id.fan_out());
        let moved = rig.dir.path().join(format!("v{}", free.0)).join("shards").join(fan_out);
        let moved = std::fs::read(moved.join(format!("{}.7.{generation}", chunk.id))).unwrap();
        assert!(moved[HEADER_LEN as usize..chunk.end as usize] == content[HEADER_LEN as usize..chunk.end as usize]);
    }
}

#[tokio::test]
async fn an_examination_finds_what_is_wrong_with_each_shard() {
    let rig = Rig::new(9).await;
    let data = rig.put(&bytes(2 << 20)).await.unwrap();
    let chunk = stored(&data.chunks[0]);
    let examine = async || rig.store.examine(&chunk, &Pace::new(0)).await.unwrap();
    assert!(examine().await.findings.iter().all(|finding| *finding == Finding::Good));
    rig.edit(&rig.path(&data, 0, 0), |file| file[10] ^= 1);
    rig.edit(&rig.path(&data, 0, 3), |file| file.truncate(250_000));
    rig.edit(&rig.path(&data, 0, 8), |file| file.truncate(chunk.end as usize));
    let found = examine().await;
    assert_eq!((found.bad().iter().collect::<Vec<_>>(), found.lost), (vec![0, 3, 8], None));
    let volume = chunk.placement.0[5].unwrap().volume.0;
    rig.vanish(&[usize::from(volume) - 1], true);
    let found = examine().await;
    assert_eq!((found.away().iter().collect::<Vec<_>>(), found.bad().len()), (vec![5], 3));
    // The others' first blocks: shard 0's header is bad, its blocks are not.
    for shard in [1, 2] {
        rig.edit(&rig.path(&data, 0, shard), |file| file[HEADER_LEN as usize + 40] ^= 1);
    }
    let found = examine().await;
    assert_eq!(found.lost, None, "shards 0, 3, 4, 6, 7 and 8 have the first block");
    rig.edit(&rig.path(&data, 0, 4), |file| file[HEADER_LEN as usize + 40] ^= 1);
    assert_eq!(examine().await.lost, Some((HEADER_LEN, 5)));
}
