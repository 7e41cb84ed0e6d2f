//! The erasure code: 6 data shards and 3 parity shards, any 6 of which give back the others.
//!
//! [`Codec`] is `reed-solomon-erasure` over a [`field`] of our own, so that its parity is byte for byte that of the crate,
//! ten times faster. [`kernels`] holds the vector code, chosen at run time.

pub mod field;
pub mod kernels;

use std::sync::Arc;

use reed_solomon_erasure::{Error as CrateError, ReedSolomon};

use self::field::{Field, GaloisField};
use self::kernels::{Best, Kernel};
use crate::layout::{DATA_SHARDS, PARITY_SHARDS, SHARDS};

/// Bytes of a shard that are coded at a time: small enough that the three outputs and an input stay in the first-level cache
/// while every input is added to every output.
const TILE: usize = 16 << 10;

/// What cannot be coded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CodecError {
    /// Shards of one stripe have equal lengths.
    #[error("shard {shard} is {len} bytes long, the others {expected}")]
    UnequalLengths {
        /// The first shard that differs.
        shard: usize,
        /// Its length.
        len: usize,
        /// The length of those before it.
        expected: usize,
    },
    /// Fewer than six shards are left: the stripe is lost.
    #[error("only {present} of {SHARDS} shards are left, {DATA_SHARDS} are needed")]
    TooFewShards {
        /// How many are left.
        present: usize,
    },
    /// Shards are numbered 0 to 8.
    #[error("there is no shard {shard}")]
    NoSuchShard {
        /// What was asked for.
        shard: usize,
    },
    /// The code's own arithmetic failed, which no input can cause.
    #[error("the erasure code failed: {0}")]
    Internal(CrateError),
}

/// The coefficients that make one shard out of six others.
type Row = [u8; DATA_SHARDS];

/// The 6+3 code. Clones share it.
pub struct Codec<K: Kernel = Best> {
    inner: Arc<Inner<K>>,
}

struct Inner<K: Kernel> {
    code: ReedSolomon<Field<K>>,
    /// For each shard, how it comes from the data shards: six unit rows, then the crate's parity rows.
    rows: [Row; SHARDS],
}

impl<K: Kernel> Clone for Codec<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Kernel> std::fmt::Debug for Codec<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Codec({DATA_SHARDS}+{PARITY_SHARDS}, {})", K::name())
    }
}

impl Codec {
    /// The code, with the fastest kernel this processor has.
    ///
    /// # Errors
    /// None in practice: [`CodecError::Internal`] if the crate refused the constants 6 and 3.
    pub fn new() -> Result<Self, CodecError> {
        Self::with_kernel()
    }
}

impl<K: Kernel> Codec<K> {
    /// The code with the kernel `K`: for tests and benchmarks, which compare kernels.
    ///
    /// # Errors
    /// As [`Codec::new`].
    pub fn with_kernel() -> Result<Self, CodecError> {
        let code = ReedSolomon::new(DATA_SHARDS, PARITY_SHARDS).map_err(CodecError::Internal)?;
        // The crate keeps its matrix to itself, but the parity of the unit vectors is the matrix.
        let mut rows = [[0; DATA_SHARDS]; SHARDS];
        for column in 0..DATA_SHARDS {
            let mut unit = [[0u8]; DATA_SHARDS];
            unit[column] = [1];
            let mut parity = [[0u8]; PARITY_SHARDS];
            code.encode_sep(&unit, &mut parity).map_err(CodecError::Internal)?;
            rows[column][column] = 1;
            for (row, [coefficient]) in rows[DATA_SHARDS..].iter_mut().zip(parity) {
                row[column] = coefficient;
            }
        }
        Ok(Self { inner: Arc::new(Inner { code, rows }) })
    }

    /// Overwrites `parity` with the parity of `data`. All nine have the same length, which may be zero.
    ///
    /// # Errors
    /// [`CodecError::UnequalLengths`], before anything is written.
    pub fn encode(&self, data: [&[u8]; DATA_SHARDS], mut parity: [&mut [u8]; PARITY_SHARDS]) -> Result<(), CodecError> {
        let len = equal_lengths(
            data.iter().map(|shard| shard.len()).chain(parity.iter().map(|shard| shard.len())).enumerate(),
        )?;
        let mut start = 0;
        while start < len {
            let tile = start..len.min(start + TILE);
            start = tile.end;
            let inputs = data.map(|shard| &shard[tile.clone()]);
            let mut outputs = parity.each_mut().map(|shard| &mut shard[tile.clone()]);
            self.inner.code.encode_sep(&inputs, &mut outputs).map_err(CodecError::Internal)?;
        }
        Ok(())
    }

    /// Computes the `wanted` shards, in that order, from any six of those given: nothing else is computed and nothing given
    /// is copied. A wanted shard that is given is computed all the same, from others if there are enough.
    ///
    /// # Errors
    /// [`CodecError::TooFewShards`] with fewer than six shards, [`CodecError::UnequalLengths`], [`CodecError::NoSuchShard`].
    pub fn rebuild(&self, shards: &[Option<&[u8]>; SHARDS], wanted: &[usize]) -> Result<Vec<Vec<u8>>, CodecError> {
        let len = shards.iter().flatten().next().map_or(0, |shard| shard.len());
        let mut outputs: Vec<Vec<u8>> = wanted.iter().map(|_| vec![0; len]).collect();
        self.rebuild_into(shards, wanted.iter().copied().zip(outputs.iter_mut().map(|output| &mut output[..])))?;
        Ok(outputs)
    }

    /// [`Codec::rebuild`] into buffers of the caller's, each as long as the shards: their content is overwritten.
    ///
    /// # Errors
    /// As [`Codec::rebuild`]; the buffers' lengths are checked like those of shards.
    pub fn rebuild_into<'a>(
        &self,
        shards: &[Option<&[u8]>; SHARDS],
        wanted: impl IntoIterator<Item = (usize, &'a mut [u8])>,
    ) -> Result<(), CodecError> {
        let (wanted, mut outputs): (Vec<usize>, Vec<&mut [u8]>) = wanted.into_iter().unzip();
        if let Some(&shard) = wanted.iter().find(|&&shard| shard >= SHARDS) {
            return Err(CodecError::NoSuchShard { shard });
        }
        let given = || shards.iter().enumerate().filter_map(|(index, shard)| Some((index, (*shard)?)));
        let buffers = wanted.iter().zip(&outputs).map(|(&index, buffer)| (index, buffer.len()));
        let len = equal_lengths(given().map(|(index, shard)| (index, shard.len())).chain(buffers))?;
        // Wanted shards come last, so that they are computed from the others where that is possible.
        let sources = given().filter(|(index, _)| !wanted.contains(index));
        let sources = sources.chain(given().filter(|(index, _)| wanted.contains(index)));
        let mut inputs: [(usize, &[u8]); DATA_SHARDS] = [(0, &[]); DATA_SHARDS];
        let mut present = 0;
        for source in sources {
            if let Some(input) = inputs.get_mut(present) {
                *input = source;
            }
            present += 1;
        }
        if present < DATA_SHARDS {
            return Err(CodecError::TooFewShards { present });
        }

        let rows = self.decode_rows(inputs.map(|(index, _)| index), &wanted)?;
        let mut start = 0;
        while start < len {
            let tile = start..len.min(start + TILE);
            start = tile.end;
            for (row, output) in rows.iter().zip(&mut outputs) {
                let output = &mut output[tile.clone()];
                for (i, (&coefficient, (_, input))) in row.iter().zip(&inputs).enumerate() {
                    match i {
                        0 => K::mul(coefficient, &input[tile.clone()], output),
                        _ => K::mul_add(coefficient, &input[tile.clone()], output),
                    }
                }
            }
        }
        Ok(())
    }

    /// How each wanted shard comes from the six sources: its row of the code's matrix times the inverse of the sources' rows.
    fn decode_rows(&self, sources: [usize; DATA_SHARDS], wanted: &[usize]) -> Result<Vec<Row>, CodecError> {
        let inverse = invert(sources.map(|source| self.inner.rows[source]))?;
        let row = |&shard: &usize| {
            let mut row = [0; DATA_SHARDS];
            for (&coefficient, from) in self.inner.rows[shard].iter().zip(&inverse) {
                for (sum, &factor) in row.iter_mut().zip(from) {
                    *sum ^= GaloisField::multiply(coefficient, factor);
                }
            }
            row
        };
        Ok(wanted.iter().map(row).collect())
    }
}

/// The one length of all shards, zero if there are none.
fn equal_lengths(lengths: impl Iterator<Item = (usize, usize)>) -> Result<usize, CodecError> {
    let mut expected = None;
    for (shard, len) in lengths {
        let expected = *expected.get_or_insert(len);
        if len != expected {
            return Err(CodecError::UnequalLengths { shard, len, expected });
        }
    }
    Ok(expected.unwrap_or(0))
}

/// Gauss-Jordan elimination. Any six distinct rows of the code's matrix can be inverted: that is what makes it a code.
fn invert(mut matrix: [Row; DATA_SHARDS]) -> Result<[Row; DATA_SHARDS], CodecError> {
    let mut inverse = [[0; DATA_SHARDS]; DATA_SHARDS];
    for (i, row) in inverse.iter_mut().enumerate() {
        row[i] = 1;
    }
    for column in 0..DATA_SHARDS {
        let pivot = (column..DATA_SHARDS).find(|&row| matrix[row][column] != 0);
        let pivot = pivot.ok_or(CodecError::Internal(CrateError::TooFewShardsPresent))?;
        matrix.swap(column, pivot);
        inverse.swap(column, pivot);
        let factor = GaloisField::divide(1, matrix[column][column]);
        for row in [&mut matrix, &mut inverse] {
            row[column] = row[column].map(|value| GaloisField::multiply(factor, value));
        }
        for row in (0..DATA_SHARDS).filter(|&row| row != column) {
            let factor = matrix[row][column];
            for side in [&mut matrix, &mut inverse] {
                let source = side[column];
                for (value, from) in side[row].iter_mut().zip(source) {
                    *value ^= GaloisField::multiply(factor, from);
                }
            }
        }
    }
    Ok(inverse)
}

#[cfg(test)]
mod tests;
