//! The words for where bytes are: chunks, shards, placements and extents.
//!
//! `metadata` stores these, `chunks` makes and reads them; neither needs to know the other.

use std::fmt;
use std::str::FromStr;

/// Data shards of a chunk.
pub const DATA_SHARDS: usize = 6;
/// Parity shards of a chunk.
pub const PARITY_SHARDS: usize = 3;
/// All shards of a chunk, each on another volume.
pub const SHARDS: usize = DATA_SHARDS + PARITY_SHARDS;
/// Object bytes in one chunk at most.
pub const CHUNK_LEN: u64 = 64 << 20;
/// Object bytes coded at once at most.
pub const STRIPE_LEN: u32 = 1 << 20;
/// Bytes of a shard file's header, one page: its first block begins there, aligned.
pub const HEADER_LEN: u64 = 4096;
/// Bytes of a block's header in a shard file.
pub const BLOCK_HEADER_LEN: u64 = 32;

/// Length of each of a stripe's nine blocks, without header, in bytes; the last data block is padded with zeros.
pub fn block_len(stripe_len: u32) -> u32 {
    stripe_len.div_ceil(DATA_SHARDS as u32)
}

/// A chunk's name: a sequence number that is reserved in SQL before it is used, and the random nonce of the
/// reserved range it came from, so that a database restored from an older state cannot issue the same name again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// Unique number within a deployment's history, below 2^63.
    pub seq: u64,
    /// Random; shared by all ids of one range.
    pub nonce: u64,
}

impl ChunkId {
    /// The 16 bytes stored in SQL and in shard headers: `seq`, then `nonce`, big-endian, so that ids sort by age.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    /// The inverse of [`ChunkId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let all = u128::from_be_bytes(bytes);
        Self { seq: (all >> 64) as u64, nonce: all as u64 }
    }

    /// The directory of 256 (`shards/ab/`) in which all shard files of this chunk are.
    pub fn fan_out(self) -> u8 {
        self.seq as u8
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.seq, self.nonce)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no chunk id, shard name or placement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {text:?}")]
pub struct ParseError {
    what: &'static str,
    text: String,
}

impl ParseError {
    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(100).collect() }
    }
}

impl FromStr for ChunkId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lower_hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(all) if lower_hex => Ok(Self::from_bytes(all.to_be_bytes())),
            _ => Err(ParseError::new("chunk id", text)),
        }
    }
}

/// Chunk ids that one instance may use, reserved before any is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First sequence number.
    pub first: u64,
    /// Last sequence number.
    pub last: u64,
    /// The nonce of all its ids.
    pub nonce: u64,
}

/// A volume's number in SQL and in `volume.json`; given at registration, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeSlot(pub u16);

impl fmt::Display for VolumeSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for VolumeSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// The file name of a shard: `<chunk id>.<shard index>.<generation>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName {
    /// The chunk it is a shard of.
    pub chunk: ChunkId,
    /// 0 to 5 data, 6 to 8 parity.
    pub shard: u8,
    /// 0 at first; each healing writes a file of the next generation and never changes one in place.
    pub generation: u32,
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.chunk, self.shard, self.generation)
    }
}

impl FromStr for ShardName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("shard name", text);
        let mut fields = text.split('.');
        let (Some(chunk), Some(shard), Some(generation), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(error());
        };
        let name = Self {
            chunk: chunk.parse().map_err(|_| error())?,
            shard: shard.parse().map_err(|_| error())?,
            generation: generation.parse().map_err(|_| error())?,
        };
        // Only the one canonical spelling names a shard: "+1", "01" do not.
        if usize::from(name.shard) < SHARDS && name.to_string() == text { Ok(name) } else { Err(error()) }
    }
}

/// Where one shard is: the volume and the generation of its file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The volume.
    pub volume: VolumeSlot,
    /// The file's generation.
    pub generation: u32,
}

/// Where the nine shards of a chunk are, by shard index; `None` where a shard found no volume (a degraded write).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Placement(pub [Option<Slot>; SHARDS]);

impl Placement {
    /// The file that holds `shard`, and the volume it is on.
    pub fn file(&self, chunk: ChunkId, shard: usize) -> Option<(VolumeSlot, ShardName)> {
        let slot = (*self.0.get(shard)?)?;
        Some((slot.volume, ShardName { chunk, shard: shard as u8, generation: slot.generation }))
    }
}

/// The text stored in SQL: nine fields `volume.generation` (or `-`), separated by spaces.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, slot) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match slot {
                Some(slot) => write!(f, "{}.{}", slot.volume.0, slot.generation)?,
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Placement {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("placement", text);
        let mut placement = Self::default();
        let mut fields = text.split(' ');
        for slot in &mut placement.0 {
            let field = fields.next().ok_or_else(error)?;
            if field != "-" {
                let (volume, generation) = field.split_once('.').ok_or_else(error)?;
                *slot = Some(Slot {
                    volume: VolumeSlot(volume.parse().map_err(|_| error())?),
                    generation: generation.parse().map_err(|_| error())?,
                });
            }
        }
        if fields.next().is_some() { Err(error()) } else { Ok(placement) }
    }
}

/// A set of shard indexes, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ShardSet(pub u16);

impl ShardSet {
    /// Adds a shard index.
    pub fn insert(&mut self, shard: usize) {
        self.0 |= 1 << shard;
    }
    /// Removes a shard index.
    pub fn remove(&mut self, shard: usize) {
        self.0 &= !(1 << shard);
    }
    /// Whether `shard` is in the set.
    pub fn contains(self, shard: usize) -> bool {
        self.0 & (1 << shard) != 0
    }
    /// How many are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }
    /// Whether none is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The indexes in the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..SHARDS).filter(move |&shard| self.contains(shard))
    }
}

/// A chunk whose shards have just been written and synced, for the commit that makes it known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// Its name, out of a reserved range.
    pub id: ChunkId,
    /// Object bytes in it.
    pub len: u64,
    /// Where the last block ends in every shard file: the trailer's position.
    pub end: u64,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards that could not be written or placed: they enter the heal queue with the commit.
    pub missing: ShardSet,
}

/// A run of one object's (or part's) bytes inside a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset of its first byte in the object or part.
    pub start: u64,
    /// The chunk.
    pub chunk: ChunkId,
    /// Byte offset, the same in every shard file, where the block of its first stripe begins.
    pub position: u64,
    /// Length of its stripes, but for the last of a chunk of its own, which ends where the chunk does.
    pub stripe_len: u32,
    /// Bytes of the first stripe before the extent's first.
    pub skip: u32,
    /// Length in bytes.
    pub len: u64,
}

/// An extent with what reading it needs of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedExtent {
    /// The extent.
    pub extent: Extent,
    /// Whether many objects share the chunk: its stripes then differ in length, and the extent lies within one of
    /// [`Extent::stripe_len`] bytes.
    pub packed: bool,
    /// Object bytes in the chunk.
    pub chunk_len: u64,
    /// Where the chunk's shards are.
    pub placement: Placement,
    /// Shards known not to be there.
    pub missing: ShardSet,
}

/// Bytes written to new chunks, not yet committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewData {
    /// Sum of the extents' lengths.
    pub len: u64,
    /// The chunks, in order.
    pub chunks: Vec<NewChunk>,
    /// The extents that make the bytes, in order, one a chunk.
    pub extents: Vec<Extent>,
}

/// A chunk as its row has it: what its shard files must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// The chunk.
    pub id: ChunkId,
    /// Whether small objects share it: its stripes then differ in length.
    pub packed: bool,
    /// Where its shards are.
    pub placement: Placement,
    /// Shards that are not there.
    pub missing: ShardSet,
    /// Bytes of all its stripes.
    pub len: u64,
    /// Where its last committed block ends in each shard file.
    pub end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_placements_survive_their_text_form() {
        let chunk = ChunkId { seq: 0x1234, nonce: 0xfedc_ba98_7654_3210 };
        assert_eq!(ChunkId::from_bytes(chunk.to_bytes()), chunk);
        assert_eq!(chunk.to_string().parse(), Ok(chunk));
        assert_eq!(chunk.fan_out(), 0x34);
        let name = ShardName { chunk, shard: 8, generation: 3 };
        assert_eq!(name.to_string().parse(), Ok(name));
        let mut placement = Placement::default();
        placement.0[0] = Some(Slot { volume: VolumeSlot(7), generation: 2 });
        assert_eq!(placement.to_string(), "7.2 - - - - - - - -");
        assert_eq!(placement.to_string().parse(), Ok(placement));
        assert_eq!(placement.file(chunk, 0).map(|(v, n)| (v.0, n.generation)), Some((7, 2)));
        assert_eq!(placement.file(chunk, 1), None);
    }

    #[test]
    fn only_canonical_shard_names_parse() {
        let chunk = ChunkId { seq: 1, nonce: 2 }.to_string();
        for bad in ["", "x", &chunk, &format!("{chunk}.9.0"), &format!("{chunk}.01.0"), &format!("{chunk}.1.+0")] {
            assert!(bad.parse::<ShardName>().is_err(), "{bad}");
        }
        assert!("1.1 - -".parse::<Placement>().is_err());
    }
}
