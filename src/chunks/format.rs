//! The bytes of a shard file: header, blocks, trailer.
//!
//! ```text
//! shard file = header (4,096 bytes) · block · block · … · trailer (64 bytes, only once the shard is complete)
//! block      = block header (32 bytes) · ceil(stripe length / 6) bytes
//! stripe of a packed chunk = entry · entry · …
//! entry      = entry header (36 bytes) · bucket · key · the object's bytes
//! ```
//!
//! Integers are little-endian, chunk ids the 16 bytes of [`ChunkId::to_bytes`]. Every block's checksum is seeded by chunk,
//! shard and position, so that a block written to the wrong place does not verify there; its nonce is that of its stripe, so
//! that blocks of different writes are never decoded together. The formats are pinned by `tests/fixtures/`.

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::codec::Codec;
pub use crate::layout::HEADER_LEN;
use crate::layout::{BLOCK_HEADER_LEN, ChunkId, DATA_SHARDS, PARITY_SHARDS, SHARDS, STRIPE_LEN, ShardName, block_len};

/// Version of all that this module writes.
pub const FORMAT_VERSION: u16 = 1;
/// Length of a shard file's trailer.
pub const TRAILER_LEN: u64 = 64;

const HEADER_MAGIC: &[u8; 8] = b"NFSHARD\x01";
const TRAILER_MAGIC: &[u8; 8] = b"NFTRAIL\x01";
const BLOCK_MAGIC: &[u8; 4] = b"NFBK";
/// Blocks are summed with XXH3-64.
const CHECKSUM_XXH3: u8 = 1;
const ENTRY_MAGIC: &[u8; 4] = b"NFEN";
const HEADER_FIXED: usize = 56;
const ENTRY_FIXED: usize = 36;
/// The longest entry header, names included.
pub const ENTRY_HEADER_MAX: usize = ENTRY_FIXED + 255 + 1024;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The first bytes are not ours.
    #[error("wrong magic number")]
    Magic,
    /// Written by a version that this program does not know.
    #[error("format version {0} is unknown")]
    Version(u16),
    /// A checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// A number is not the one expected.
    #[error("{0} is not the expected one")]
    Field(&'static str),
    /// Too short to be one.
    #[error("too short")]
    Short,
}

/// Whose bytes a large chunk holds, kept in its shards' headers so that they can be named without a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// The bucket.
    pub bucket: String,
    /// The key, 1,024 bytes at most.
    pub key: String,
    /// The part's number; 0 for an object put at once.
    pub part: u32,
}

/// The first 4,096 bytes of a shard file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Chunk, shard index and generation.
    pub name: ShardName,
    /// Length of the chunk's stripes but the last; 0 where they differ.
    pub stripe_len: u32,
    /// Whose bytes.
    pub owner: Owner,
}

impl Header {
    /// The header as it is written.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![0u8; HEADER_LEN as usize];
        out[..8].copy_from_slice(HEADER_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10] = self.name.shard;
        out[11] = DATA_SHARDS as u8;
        out[12] = PARITY_SHARDS as u8;
        out[13] = CHECKSUM_XXH3;
        out[16..32].copy_from_slice(&self.name.chunk.to_bytes());
        out[32..36].copy_from_slice(&self.name.generation.to_le_bytes());
        out[36..40].copy_from_slice(&self.stripe_len.to_le_bytes());
        out[40..44].copy_from_slice(&self.owner.part.to_le_bytes());
        // Names that S3 allows always fit; anything longer is cut, as it only serves to be read by people and `restore`.
        let bucket = &self.owner.bucket.as_bytes()[..self.owner.bucket.len().min(255)];
        let key = &self.owner.key.as_bytes()[..self.owner.key.len().min(1024)];
        out[44..46].copy_from_slice(&(bucket.len() as u16).to_le_bytes());
        out[46..48].copy_from_slice(&(key.len() as u16).to_le_bytes());
        out[HEADER_FIXED..HEADER_FIXED + bucket.len()].copy_from_slice(bucket);
        out[HEADER_FIXED + bucket.len()..HEADER_FIXED + bucket.len() + key.len()].copy_from_slice(key);
        let end = out.len() - 4;
        let crc = crc32c(&out[..end]);
        out[end..].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads a header back.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes: &[u8; HEADER_LEN as usize] =
            bytes.get(..HEADER_LEN as usize).and_then(|b| b.try_into().ok()).ok_or(FormatError::Short)?;
        if &bytes[..8] != HEADER_MAGIC {
            return Err(FormatError::Magic);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        if le_u32(bytes, bytes.len() - 4) != crc32c(&bytes[..bytes.len() - 4]) {
            return Err(FormatError::Checksum);
        }
        if (bytes[11], bytes[12]) != (DATA_SHARDS as u8, PARITY_SHARDS as u8) || bytes[13] != CHECKSUM_XXH3 {
            return Err(FormatError::Field("coding"));
        }
        let mut chunk = [0; 16];
        chunk.copy_from_slice(&bytes[16..32]);
        let bucket_len = usize::from(u16::from_le_bytes([bytes[44], bytes[45]]));
        let key_len = usize::from(u16::from_le_bytes([bytes[46], bytes[47]]));
        let names = bytes.get(HEADER_FIXED..HEADER_FIXED + bucket_len + key_len).ok_or(FormatError::Field("owner"))?;
        let (bucket, key) = names.split_at(bucket_len);
        Ok(Self {
            name: ShardName { chunk: ChunkId::from_bytes(chunk), shard: bytes[10], generation: le_u32(bytes, 32) },
            stripe_len: le_u32(bytes, 36),
            owner: Owner {
                bucket: String::from_utf8_lossy(bucket).into_owned(),
                key: String::from_utf8_lossy(key).into_owned(),
                part: le_u32(bytes, 40),
            },
        })
    }
}

/// The end of a complete shard: with it, a shard can be verified without asking the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Chunk, shard index and generation.
    pub name: ShardName,
    /// Object bytes in the chunk.
    pub chunk_len: u64,
    /// Blocks in this file.
    pub blocks: u32,
    /// Length of the chunk's stripes but the last; 0 where they differ.
    pub stripe_len: u32,
    /// Where the trailer begins.
    pub position: u64,
}

impl Trailer {
    /// The trailer as it is written.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![0u8; TRAILER_LEN as usize];
        out[..8].copy_from_slice(TRAILER_MAGIC);
        out[8..24].copy_from_slice(&self.name.chunk.to_bytes());
        out[24] = self.name.shard;
        out[28..32].copy_from_slice(&self.name.generation.to_le_bytes());
        out[32..40].copy_from_slice(&self.chunk_len.to_le_bytes());
        out[40..44].copy_from_slice(&self.blocks.to_le_bytes());
        out[44..48].copy_from_slice(&self.stripe_len.to_le_bytes());
        out[48..56].copy_from_slice(&self.position.to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads a trailer back.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes: &[u8; TRAILER_LEN as usize] =
            bytes.get(..TRAILER_LEN as usize).and_then(|b| b.try_into().ok()).ok_or(FormatError::Short)?;
        if &bytes[..8] != TRAILER_MAGIC {
            return Err(FormatError::Magic);
        }
        if le_u32(bytes, 60) != crc32c(&bytes[..60]) {
            return Err(FormatError::Checksum);
        }
        let mut chunk = [0; 16];
        chunk.copy_from_slice(&bytes[8..24]);
        Ok(Self {
            name: ShardName { chunk: ChunkId::from_bytes(chunk), shard: bytes[24], generation: le_u32(bytes, 28) },
            chunk_len: le_u64(bytes, 32),
            blocks: le_u32(bytes, 40),
            stripe_len: le_u32(bytes, 44),
            position: le_u64(bytes, 48),
        })
    }
}

/// What precedes each object's bytes in a packed chunk, so that they can be named without a database. Behind it in the stripe
/// come the bucket, the key, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryHeader {
    /// Whose bytes.
    pub owner: Owner,
    /// When they were written, in milliseconds since 1970.
    pub modified: i64,
    /// How many there are.
    pub len: u32,
}

impl EntryHeader {
    /// Length of the header as it is written.
    pub fn encoded_len(&self) -> u32 {
        (ENTRY_FIXED + self.owner.bucket.len().min(255) + self.owner.key.len().min(1024)) as u32
    }

    /// The header as it is written, names included.
    pub fn encode(&self) -> Bytes {
        // As in a shard's header: names that S3 allows always fit.
        let bucket = &self.owner.bucket.as_bytes()[..self.owner.bucket.len().min(255)];
        let key = &self.owner.key.as_bytes()[..self.owner.key.len().min(1024)];
        let mut out = vec![0u8; ENTRY_FIXED];
        out[..4].copy_from_slice(ENTRY_MAGIC);
        out[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&(bucket.len() as u16).to_le_bytes());
        out[8..10].copy_from_slice(&(key.len() as u16).to_le_bytes());
        out[12..16].copy_from_slice(&self.owner.part.to_le_bytes());
        out[16..24].copy_from_slice(&self.modified.to_le_bytes());
        out[24..28].copy_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(bucket);
        out.extend_from_slice(key);
        let crc = crc32c(&out);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads the header at the start of `bytes` back; also answers its length, where the object's bytes begin.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let fixed: &[u8; ENTRY_FIXED] =
            bytes.get(..ENTRY_FIXED).and_then(|b| b.try_into().ok()).ok_or(FormatError::Short)?;
        if &fixed[..4] != ENTRY_MAGIC {
            return Err(FormatError::Magic);
        }
        let version = u16::from_le_bytes([fixed[4], fixed[5]]);
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        let bucket_len = usize::from(u16::from_le_bytes([fixed[6], fixed[7]]));
        let key_len = usize::from(u16::from_le_bytes([fixed[8], fixed[9]]));
        let end = ENTRY_FIXED + bucket_len + key_len;
        let mut summed = bytes.get(..end).ok_or(FormatError::Short)?.to_vec();
        summed[28..32].fill(0);
        if crc32c(&summed) != le_u32(fixed, 28) {
            return Err(FormatError::Checksum);
        }
        let (bucket, key) = summed[ENTRY_FIXED..].split_at(bucket_len);
        let owner = Owner {
            bucket: String::from_utf8_lossy(bucket).into_owned(),
            key: String::from_utf8_lossy(key).into_owned(),
            part: le_u32(fixed, 12),
        };
        Ok((Self { owner, modified: le_u64(fixed, 16) as i64, len: le_u32(fixed, 24) }, end))
    }
}

/// Where stripe number `index` of a chunk with equal stripes begins in each shard file.
pub fn stripe_position(index: u64, stripe_len: u32) -> u64 {
    HEADER_LEN + index * block_size(stripe_len)
}

/// Bytes that one block of a stripe takes in a shard file.
pub fn block_size(stripe_len: u32) -> u64 {
    BLOCK_HEADER_LEN + u64::from(block_len(stripe_len))
}

/// A stripe ready to be written: what goes to `position` of each of the nine shard files.
#[derive(Debug, Clone)]
pub struct EncodedStripe {
    /// Where, in every shard file.
    pub position: u64,
    /// Object bytes in the stripe.
    pub len: u32,
    /// Block header and block, by shard index; parts of one allocation.
    pub blocks: [Bytes; SHARDS],
}

/// Codes `pieces` (together 1 to 1,048,576 bytes) as one stripe. The one copy that a put makes of its bytes is here: from
/// the network's buffers to their places in the blocks.
///
/// # Errors
/// If the pieces are none or too long for a stripe.
pub fn encode_stripe(
    codec: &Codec,
    chunk: ChunkId,
    position: u64,
    nonce: u64,
    pieces: &[Bytes],
) -> Result<EncodedStripe, FormatError> {
    let len: usize = pieces.iter().map(Bytes::len).sum();
    if len == 0 || len > STRIPE_LEN as usize {
        return Err(FormatError::Field("stripe length"));
    }
    let block = block_len(len as u32) as usize;
    let stride = BLOCK_HEADER_LEN as usize + block;
    let mut buffer = vec![0u8; SHARDS * stride];
    let mut slots: Vec<(&mut [u8], &mut [u8])> =
        buffer.chunks_exact_mut(stride).map(|slot| slot.split_at_mut(BLOCK_HEADER_LEN as usize)).collect();

    let (mut shard, mut filled) = (0, 0);
    for piece in pieces {
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let n = rest.len().min(block - filled);
            slots[shard].1[filled..filled + n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            filled += n;
            if filled == block {
                (shard, filled) = (shard + 1, 0);
            }
        }
    }
    {
        let (data, parity) = slots.split_at_mut(DATA_SHARDS);
        let [d0, d1, d2, d3, d4, d5] = data else { return Err(FormatError::Field("shards")) };
        let [p0, p1, p2] = parity else { return Err(FormatError::Field("shards")) };
        codec
            .encode([&*d0.1, &*d1.1, &*d2.1, &*d3.1, &*d4.1, &*d5.1], [&mut *p0.1, &mut *p1.1, &mut *p2.1])
            .map_err(|_| FormatError::Field("block length"))?;
    }
    for (shard, (header, block)) in slots.iter_mut().enumerate() {
        write_block_header(header, block, chunk, shard as u8, position, nonce, len as u32);
    }
    let buffer = Bytes::from(buffer);
    let blocks = std::array::from_fn(|i| buffer.slice(i * stride..(i + 1) * stride));
    Ok(EncodedStripe { position, len: len as u32, blocks })
}

fn write_block_header(
    header: &mut [u8],
    block: &[u8],
    chunk: ChunkId,
    shard: u8,
    position: u64,
    nonce: u64,
    stripe_len: u32,
) {
    header[..4].copy_from_slice(BLOCK_MAGIC);
    header[4..8].copy_from_slice(&stripe_len.to_le_bytes());
    header[8..12].copy_from_slice(&(block.len() as u32).to_le_bytes());
    header[12..16].fill(0);
    header[16..24].copy_from_slice(&nonce.to_le_bytes());
    let sum = block_sum(chunk, shard, position, &header[..24], block);
    header[24..32].copy_from_slice(&sum.to_le_bytes());
}

/// A block that verified.
#[derive(Debug, Clone)]
pub struct Block {
    /// Of its stripe.
    pub nonce: u64,
    /// Its bytes, padding included.
    pub bytes: Bytes,
}

/// Verifies what was read from `position` of a shard file: header and block of a stripe of `stripe_len` bytes.
///
/// # Errors
/// If it is not that block of that stripe, whole and unchanged.
pub fn verify_block(
    chunk: ChunkId,
    shard: u8,
    position: u64,
    stripe_len: u32,
    read: Bytes,
) -> Result<Block, FormatError> {
    let Some((header, block)) = read.split_at_checked(BLOCK_HEADER_LEN as usize) else {
        return Err(FormatError::Short);
    };
    if &header[..4] != BLOCK_MAGIC {
        return Err(FormatError::Magic);
    }
    if block_sum(chunk, shard, position, &header[..24], block) != le_u64(header, 24) {
        return Err(FormatError::Checksum);
    }
    if le_u32(header, 4) != stripe_len {
        return Err(FormatError::Field("stripe length"));
    }
    if le_u32(header, 8) != block_len(stripe_len) || block.len() != block_len(stripe_len) as usize {
        return Err(FormatError::Field("block length"));
    }
    let nonce = le_u64(header, 16);
    Ok(Block { nonce, bytes: read.slice(BLOCK_HEADER_LEN as usize..) })
}

/// A block as it is in its file, that verified.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// Object bytes in its stripe.
    pub stripe_len: u32,
    /// Of its stripe.
    pub nonce: u64,
    /// Header and block.
    pub bytes: Bytes,
}

impl StoredBlock {
    /// The block without its header, padding included.
    pub fn content(&self) -> &[u8] {
        self.bytes.get(BLOCK_HEADER_LEN as usize..).unwrap_or_default()
    }
}

/// Verifies the block that begins at `position` of a shard file, where `read` begins, whatever its length is.
///
/// # Errors
/// If there is none, or it is not whole and unchanged; [`FormatError::Short`] if `read` ends before it does.
pub fn take_block(chunk: ChunkId, shard: u8, position: u64, read: &Bytes) -> Result<StoredBlock, FormatError> {
    let header = read.get(..BLOCK_HEADER_LEN as usize).ok_or(FormatError::Short)?;
    if &header[..4] != BLOCK_MAGIC {
        return Err(FormatError::Magic);
    }
    let stripe_len = le_u32(header, 4);
    if stripe_len == 0 || stripe_len > STRIPE_LEN {
        return Err(FormatError::Field("stripe length"));
    }
    let size = block_size(stripe_len) as usize;
    if read.len() < size {
        return Err(FormatError::Short);
    }
    let bytes = read.slice(..size);
    let Block { nonce, .. } = verify_block(chunk, shard, position, stripe_len, bytes.clone())?;
    Ok(StoredBlock { stripe_len, nonce, bytes })
}

/// Header and block number `shard` of a stripe whose other blocks have this nonce.
pub fn block_of(chunk: ChunkId, shard: u8, position: u64, stripe: (u32, u64), block: &[u8]) -> Bytes {
    let mut bytes = vec![0; BLOCK_HEADER_LEN as usize + block.len()];
    let (header, content) = bytes.split_at_mut(BLOCK_HEADER_LEN as usize);
    content.copy_from_slice(block);
    write_block_header(header, content, chunk, shard, position, stripe.1, stripe.0);
    bytes.into()
}

fn block_sum(chunk: ChunkId, shard: u8, position: u64, header: &[u8], block: &[u8]) -> u64 {
    let mut place = [0u8; 25];
    place[..16].copy_from_slice(&chunk.to_bytes());
    place[16] = shard;
    place[17..].copy_from_slice(&position.to_le_bytes());
    let mut hasher = Xxh3::with_seed(xxh3_64(&place));
    hasher.update(header);
    hasher.update(block);
    hasher.digest()
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const CHUNK: ChunkId = ChunkId { seq: 42, nonce: 0x0123_4567_89ab_cdef };

    fn name(shard: u8) -> ShardName {
        ShardName { chunk: CHUNK, shard, generation: 0 }
    }

    fn header() -> Header {
        let owner = Owner { bucket: "photos".into(), key: "2026/ä/one.jpg".into(), part: 3 };
        Header { name: name(4), stripe_len: STRIPE_LEN, owner }
    }

    #[test]
    fn a_damaged_header_or_trailer_is_told() {
        let good = header().encode();
        assert_eq!(Header::decode(&good).unwrap(), header());
        let trailer = Trailer { name: name(1), chunk_len: 77, blocks: 1, stripe_len: 77, position: 4141 };
        let good_trailer = trailer.encode();
        assert_eq!(Trailer::decode(&good_trailer).unwrap(), trailer);
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(Header::decode(&bad).is_err(), "byte {at}");
        }
        for at in 0..good_trailer.len() {
            let mut bad = good_trailer.to_vec();
            bad[at] ^= 0x80;
            assert!(Trailer::decode(&bad).is_err(), "byte {at}");
        }
        assert_eq!(Header::decode(&good[..100]), Err(FormatError::Short));
    }

    /// The file as version 1 writes it must be readable, and written alike, for ever.
    #[test]
    fn the_committed_fixture_is_what_this_program_writes_and_reads() {
        let fixture = include_bytes!("../../tests/fixtures/shard_v1.bin");
        let data: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        let stripe = encode_stripe(&Codec::new().unwrap(), CHUNK, HEADER_LEN, 99, &[data.into()]).unwrap();
        let position = HEADER_LEN + block_size(1000);
        let trailer = Trailer { name: name(4), chunk_len: 1000, blocks: 1, stripe_len: STRIPE_LEN, position };
        let file = [&header().encode()[..], &stripe.blocks[4], &trailer.encode()].concat();
        assert!(file == fixture, "the format of shard files has changed");
        let block = verify_block(CHUNK, 4, HEADER_LEN, 1000, stripe.blocks[4].clone()).unwrap();
        assert_eq!((block.nonce, block.bytes.len()), (99, 167));
    }

    #[test]
    fn a_damaged_entry_header_is_told_and_version_1_stays_what_it_is() {
        let owner = Owner { bucket: "photos".into(), key: "ä".into(), part: 3 };
        let entry = EntryHeader { owner, modified: 0x0102_0304_0506, len: 1000 };
        let good = entry.encode();
        let fixture = "4e46454e0100060002000000030000000605040302010000e8030000";
        assert!(hex::encode(&good).starts_with(fixture), "the format of entries has changed: {}", hex::encode(&good));
        assert_eq!(&good[36..], "photosä".as_bytes());
        let mut longer = good.to_vec();
        longer.extend_from_slice(b"and the bytes");
        assert_eq!(EntryHeader::decode(&longer).unwrap(), (entry, good.len()));
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(EntryHeader::decode(&bad).is_err(), "byte {at}");
            assert!(EntryHeader::decode(&good[..at]).is_err(), "only {at} bytes");
        }
    }

    proptest! {
        #[test]
        fn a_block_verifies_only_at_its_own_place_and_unchanged(
            data in proptest::collection::vec(any::<u8>(), 1..5000), cut in 0usize..5000, shard in 0u8..9, flip in any::<proptest::sample::Index>(),
        ) {
            let cut = cut.min(data.len());
            let pieces = [Bytes::copy_from_slice(&data[..cut]), Bytes::copy_from_slice(&data[cut..])];
            let stripe = encode_stripe(&Codec::new().unwrap(), CHUNK, 4096, 7, &pieces).unwrap();
            let len = data.len() as u32;
            let read = stripe.blocks[usize::from(shard)].clone();
            prop_assert!(verify_block(CHUNK, shard, 4096, len, read.clone()).is_ok());
            prop_assert!(verify_block(CHUNK, (shard + 1) % 9, 4096, len, read.clone()).is_err());
            prop_assert!(verify_block(CHUNK, shard, 4097, len, read.clone()).is_err());
            let other = ChunkId { seq: 43, ..CHUNK };
            prop_assert!(verify_block(other, shard, 4096, len, read.clone()).is_err());
            prop_assert!(verify_block(CHUNK, shard, 4096, len + 1, read.clone()).is_err());
            let mut bad = read.to_vec();
            let at = flip.index(bad.len());
            bad[at] ^= 0x10;
            prop_assert!(verify_block(CHUNK, shard, 4096, len, bad.into()).is_err());
            let joined: Vec<u8> = stripe.blocks[..6].iter().flat_map(|b| b[32..].to_vec()).take(data.len()).collect();
            prop_assert_eq!(joined, data);
        }
    }
}
