//! MD5 and the additional checksums of S3, computed as bytes pass.
//!
//! Sources: "Checking object integrity" in the Amazon S3 user guide: ETags are MD5, composite checksums the checksum of the
//! parts' checksums with `-N`, full-object CRCs of multipart objects are combined from the parts' CRCs. The specification of
//! xxHash (`doc/xxhash_spec.md` in Cyan4973/xxHash): written down, a hash is big-endian; S3's has no seed.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use crate::chunks::Digest;
use crate::metadata::{Checksum, ChecksumAlgorithm, ChecksumType};

/// The catalogue's name of a CRC; `None` for all others.
fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Sha256
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::Xxh128
        | ChecksumAlgorithm::Xxh3
        | ChecksumAlgorithm::Xxh64 => None,
    }
}

/// Length of a checksum in bytes.
pub fn checksum_len(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme | ChecksumAlgorithm::Xxh3 | ChecksumAlgorithm::Xxh64 => 8,
        ChecksumAlgorithm::Md5 | ChecksumAlgorithm::Xxh128 => 16,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
        ChecksumAlgorithm::Sha512 => 64,
    }
}

enum Hasher {
    Crc(Box<crc_fast::Digest>),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Xxh128(Box<Xxh3>),
    Xxh3(Box<Xxh3>),
    Xxh64(Xxh64),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match (crc(algorithm), algorithm) {
            (Some(crc), _) => Self::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, ChecksumAlgorithm::Md5) => Self::Md5(Md5::new()),
            (None, ChecksumAlgorithm::Sha1) => Self::Sha1(Sha1::new()),
            (None, ChecksumAlgorithm::Sha256) => Self::Sha256(Sha256::new()),
            (None, ChecksumAlgorithm::Sha512) => Self::Sha512(Sha512::new()),
            (None, ChecksumAlgorithm::Xxh128) => Self::Xxh128(Box::new(Xxh3::new())),
            (None, ChecksumAlgorithm::Xxh3) => Self::Xxh3(Box::new(Xxh3::new())),
            (None, _) => Self::Xxh64(Xxh64::new(0)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Xxh128(hasher) | Self::Xxh3(hasher) => hasher.update(bytes),
            Self::Xxh64(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self, algorithm: ChecksumAlgorithm) -> Vec<u8> {
        match self {
            Self::Crc(hasher) => crc_bytes(algorithm, hasher.finalize()),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Xxh128(hasher) => hasher.digest128().to_be_bytes().to_vec(),
            Self::Xxh3(hasher) => hasher.digest().to_be_bytes().to_vec(),
            Self::Xxh64(hasher) => hasher.digest().to_be_bytes().to_vec(),
        }
    }
}

/// A CRC as S3 writes it: big-endian, as long as the CRC is wide.
fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - checksum_len(algorithm)..].to_vec()
}

/// MD5 and any checksums of the bytes seen.
#[derive(Debug)]
pub struct Hashes {
    md5: Md5,
    /// Without a hasher where it is the MD5 that is computed anyway.
    checksums: Vec<(ChecksumAlgorithm, Option<Hasher>)>,
    len: u64,
}

impl Hashes {
    /// MD5, and each of `algorithms` once.
    pub fn new(algorithms: impl IntoIterator<Item = ChecksumAlgorithm>) -> Self {
        let mut checksums: Vec<(ChecksumAlgorithm, Option<Hasher>)> = Vec::new();
        for algorithm in algorithms {
            if checksums.iter().all(|(a, _)| *a != algorithm) {
                let hasher = (algorithm != ChecksumAlgorithm::Md5).then(|| Hasher::new(algorithm));
                checksums.push((algorithm, hasher));
            }
        }
        Self { md5: Md5::new(), checksums, len: 0 }
    }

    /// What they come to.
    pub fn finish(self) -> Sums {
        let md5: [u8; 16] = self.md5.finalize().into();
        let value = |algorithm, hasher: Option<Hasher>| hasher.map_or(md5.to_vec(), |hasher| hasher.finish(algorithm));
        let checksums = self.checksums.into_iter().map(|(a, hasher)| (a, value(a, hasher))).collect();
        Sums { md5, checksums, len: self.len }
    }
}

impl Digest for Hashes {
    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        for hasher in self.checksums.iter_mut().filter_map(|(_, hasher)| hasher.as_mut()) {
            hasher.update(bytes);
        }
        self.len += bytes.len() as u64;
    }
}

/// Finished digests.
#[derive(Debug, Clone)]
pub struct Sums {
    /// The MD5.
    pub md5: [u8; 16],
    checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
    /// How many bytes they are of.
    pub len: u64,
}

impl Sums {
    /// The ETag of an object put at once.
    pub fn etag(&self) -> String {
        hex::encode(self.md5)
    }

    /// The algorithms of the checksums that were asked for.
    pub fn algorithms(&self) -> impl Iterator<Item = ChecksumAlgorithm> + '_ {
        self.checksums.iter().map(|(algorithm, _)| *algorithm)
    }

    /// A checksum that was asked for, in base64.
    pub fn checksum(&self, algorithm: ChecksumAlgorithm) -> Option<String> {
        let (_, bytes) = self.checksums.iter().find(|(a, _)| *a == algorithm)?;
        Some(BASE64_STANDARD.encode(bytes))
    }

    /// The same, as an object's checksum.
    pub fn full_object(&self, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
        Some(Checksum { algorithm, kind: ChecksumType::FullObject, value: self.checksum(algorithm)? })
    }
}

/// A part's contribution to the whole.
#[derive(Debug, Clone, Copy)]
pub struct PartSum<'a> {
    /// Length in bytes.
    pub size: u64,
    /// Base64 checksum, if it has one.
    pub checksum: Option<&'a str>,
}

/// The ETag of a multipart object: MD5 of the parts' MD5s, `-N`. `None` if a part's ETag is no MD5.
pub fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let count = parts.len();
    let mut md5 = Md5::new();
    for etag in parts {
        md5.update(hex::decode(etag).ok().filter(|md5| md5.len() == 16)?);
    }
    Some(format!("{}-{count}", hex::encode(md5.finalize())))
}

/// The ETag of an object of which a part, the last of `count`, was appended: MD5 of the ETag before and the part's MD5, `-N`. It costs the
/// same whatever the count, and two objects that came about differently do not share it.
pub fn appended_etag(before: &str, part: &Sums, count: u32) -> String {
    let mut md5 = Md5::new();
    md5.update(before.as_bytes());
    md5.update(part.md5);
    format!("{}-{count}", hex::encode(md5.finalize()))
}

/// Whether checksums of parts can be made one of the whole: that of a CRC can.
pub fn combines(algorithm: ChecksumAlgorithm) -> bool {
    crc(algorithm).is_some()
}

/// The checksum of a multipart object from its parts' checksums. `None` if a part has none or a malformed one, or the type does
/// not exist for the algorithm.
pub fn multipart_checksum<'a>(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumType,
    parts: impl ExactSizeIterator<Item = PartSum<'a>>,
) -> Option<Checksum> {
    let count = parts.len();
    let decoded = |part: &PartSum<'_>| {
        BASE64_STANDARD.decode(part.checksum?).ok().filter(|bytes| bytes.len() == checksum_len(algorithm))
    };
    let value = match (kind, crc(algorithm)) {
        (ChecksumType::Composite, _) => {
            let mut hasher = Hasher::new(algorithm);
            for part in parts {
                hasher.update(&decoded(&part)?);
            }
            format!("{}-{count}", BASE64_STANDARD.encode(hasher.finish(algorithm)))
        }
        (ChecksumType::FullObject, Some(crc)) => {
            let mut whole: Option<u64> = None;
            for part in parts {
                let value = decoded(&part)?.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
                whole = Some(match whole {
                    Some(before) => crc_fast::checksum_combine(crc, before, value, part.size),
                    None => value,
                });
            }
            BASE64_STANDARD.encode(crc_bytes(algorithm, whole?))
        }
        (ChecksumType::FullObject, None) => return None,
    };
    Some(Checksum { algorithm, kind, value })
}

/// The type of a multipart object's checksum when the client did not say.
pub fn default_type(algorithm: ChecksumAlgorithm) -> ChecksumType {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumType::FullObject,
        _ => ChecksumType::Composite,
    }
}

/// Whether a multipart object can have a checksum of this type: CRC64NVME is always of the whole, what is no CRC never.
pub fn type_exists(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> bool {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => kind == ChecksumType::FullObject,
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => true,
        _ => kind == ChecksumType::Composite,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn sums(bytes: &[u8]) -> Sums {
        let mut hashes = Hashes::new(ChecksumAlgorithm::ALL);
        hashes.update(bytes);
        hashes.finish()
    }

    /// Check values of the CRC catalogue and the usual tools (`md5sum`, `sha512sum`, `xxhsum -H1`, `-H3` and `-H2`) for "123456789".
    #[test]
    fn known_values() {
        let sums = sums(b"123456789");
        assert_eq!(sums.etag(), "25f9e794323b453885f5181f1b624d0b");
        let hex_of = |a| hex::encode(BASE64_STANDARD.decode(sums.checksum(a).unwrap()).unwrap());
        assert_eq!(hex_of(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex_of(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex_of(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex_of(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            hex_of(ChecksumAlgorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(hex_of(ChecksumAlgorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(
            hex_of(ChecksumAlgorithm::Sha512),
            "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85"
        );
        assert_eq!(hex_of(ChecksumAlgorithm::Xxh64), "8cb841db40e6ae83");
        assert_eq!(hex_of(ChecksumAlgorithm::Xxh3), "72dcb18b67a17dff");
        assert_eq!(hex_of(ChecksumAlgorithm::Xxh128), "33119477ede5dcd5e9716427681d5860");
    }

    /// The hashes of nothing that the xxHash project publishes, in the byte order that S3 has them in.
    #[test]
    fn hashes_of_nothing_are_big_endian() {
        let none = sums(b"");
        for (algorithm, hash) in [
            (ChecksumAlgorithm::Xxh64, "ef46db3751d8e999"),
            (ChecksumAlgorithm::Xxh3, "2d06800538d394c2"),
            (ChecksumAlgorithm::Xxh128, "99aa06d3014798d86001c324468d497f"),
        ] {
            assert_eq!(hex::encode(BASE64_STANDARD.decode(none.checksum(algorithm).unwrap()).unwrap()), hash);
        }
    }

    #[test]
    fn each_checksum_is_as_long_as_its_kind_and_only_crcs_are_of_whole_multipart_objects() {
        let sums = sums(b"x");
        for algorithm in ChecksumAlgorithm::ALL {
            let value = BASE64_STANDARD.decode(sums.checksum(algorithm).unwrap()).unwrap();
            assert_eq!(value.len(), checksum_len(algorithm), "{algorithm:?}");
            assert_eq!(type_exists(algorithm, ChecksumType::FullObject), combines(algorithm), "{algorithm:?}");
            assert!(type_exists(algorithm, default_type(algorithm)));
            assert_eq!(ChecksumAlgorithm::from_name(algorithm.name()), Some(algorithm));
        }
    }

    #[test]
    fn a_composite_checksum_is_of_the_parts_checksums() {
        let parts = [sums(b"one"), sums(b"two")];
        for algorithm in ChecksumAlgorithm::ALL.into_iter().filter(|a| type_exists(*a, ChecksumType::Composite)) {
            let values: Vec<_> = parts.iter().map(|p| p.checksum(algorithm).unwrap()).collect();
            let joined: Vec<u8> = values.iter().flat_map(|v| BASE64_STANDARD.decode(v).unwrap()).collect();
            let expected = format!("{}-2", sums(&joined).checksum(algorithm).unwrap());
            let each = values.iter().map(|v| PartSum { size: 3, checksum: Some(v) });
            let whole = multipart_checksum(algorithm, ChecksumType::Composite, each).unwrap();
            assert_eq!(whole.value, expected);
        }
        let none = [PartSum { size: 3, checksum: None }];
        assert_eq!(multipart_checksum(ChecksumAlgorithm::Crc32, ChecksumType::Composite, none.into_iter()), None);
    }

    proptest! {
        #[test]
        fn a_full_object_crc_combined_from_parts_is_that_of_the_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        ) {
            let whole = sums(&parts.concat());
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                let values: Vec<_> = parts.iter().map(|p| (p.len() as u64, sums(p).checksum(algorithm).unwrap())).collect();
                let each = values.iter().map(|(size, v)| PartSum { size: *size, checksum: Some(v) });
                let combined = multipart_checksum(algorithm, ChecksumType::FullObject, each).unwrap();
                prop_assert_eq!(combined.value, whole.checksum(algorithm).unwrap());
            }
        }
    }
}
