#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use reed_solomon_erasure::galois_8;

use super::kernels::Scalar;
use super::*;

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect()
}

fn stripe(len: usize, seed: u64) -> Vec<Vec<u8>> {
    (0..DATA_SHARDS as u64).map(|i| bytes(len, seed.wrapping_add(i * 7919))).collect()
}

/// The nine shards, parity by `codec`.
fn encoded<K: Kernel>(codec: &Codec<K>, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let len = data[0].len();
    // Not zero, so that encoding must overwrite.
    let mut parity = vec![vec![0xa5; len]; PARITY_SHARDS];
    let [a, b, c] = &mut parity[..] else { unreachable!() };
    codec.encode(std::array::from_fn(|i| &data[i][..]), [a, b, c]).unwrap();
    data.iter().cloned().chain(parity).collect()
}

#[test]
fn parity_is_byte_for_byte_that_of_the_crate() {
    let ours = Codec::new().unwrap();
    let scalar = Codec::<Scalar>::with_kernel().unwrap();
    let theirs = galois_8::ReedSolomon::new(DATA_SHARDS, PARITY_SHARDS).unwrap();
    for len in [1, 2, 15, 16, 17, 31, 32, 33, 1000, TILE - 1, TILE, TILE + 1, 3 * TILE + 77, 174_763] {
        let data = stripe(len, len as u64);
        let mut expected = data.clone();
        expected.resize(SHARDS, vec![0; len]);
        theirs.encode(&mut expected).unwrap();
        assert_eq!(encoded(&ours, &data), expected, "{len} bytes");
        assert_eq!(encoded(&scalar, &data), expected, "{len} bytes, scalar");
    }
}

#[test]
fn every_loss_of_up_to_three_shards_is_rebuilt() {
    let codec = Codec::new().unwrap();
    let whole = encoded(&codec, &stripe(TILE + 13, 42));
    for lost in 0..1u32 << SHARDS {
        let wanted: Vec<usize> = (0..SHARDS).filter(|i| lost & (1 << i) != 0).collect();
        let shards = std::array::from_fn(|i| (!wanted.contains(&i)).then_some(&whole[i][..]));
        let rebuilt = codec.rebuild(&shards, &wanted);
        if wanted.len() <= PARITY_SHARDS {
            let expected: Vec<Vec<u8>> = wanted.iter().map(|&i| whole[i].clone()).collect();
            assert!(rebuilt.unwrap() == expected, "lost {wanted:?}");
        } else {
            assert_eq!(rebuilt, Err(CodecError::TooFewShards { present: SHARDS - wanted.len() }));
        }
    }
}

#[test]
fn a_shard_that_is_given_is_computed_from_the_others_when_it_is_wanted() {
    let codec = Codec::new().unwrap();
    let mut whole = encoded(&codec, &stripe(100, 1));
    let truth = whole[2].clone();
    whole[2][50] ^= 1;
    let shards = std::array::from_fn(|i| Some(&whole[i][..]));
    assert_eq!(codec.rebuild(&shards, &[2]), Ok(vec![truth]));
}

#[test]
fn buffers_of_the_callers_are_overwritten_and_checked() {
    let codec = Codec::new().unwrap();
    let whole = encoded(&codec, &stripe(5000, 9));
    let shards = std::array::from_fn(|i| (i != 1 && i != 7).then_some(&whole[i][..]));
    let (mut data, mut parity) = (vec![7; 5000], vec![8; 5000]);
    codec.rebuild_into(&shards, [(1, &mut data[..]), (7, &mut parity[..])]).unwrap();
    assert!(data == whole[1] && parity == whole[7]);
    let short = codec.rebuild_into(&shards, [(1, &mut data[..4999])]);
    assert_eq!(short, Err(CodecError::UnequalLengths { shard: 1, len: 4999, expected: 5000 }));
}

#[test]
fn unequal_lengths_and_unknown_shards_are_refused() {
    let codec = Codec::new().unwrap();
    let (long, short) = ([1u8; 8], [1u8; 7]);
    let (mut a, mut b, mut c) = ([9u8; 8], [9u8; 8], [9u8; 8]);
    let mut data: [&[u8]; DATA_SHARDS] = [&long; DATA_SHARDS];
    data[3] = &short;
    assert_eq!(
        codec.encode(data, [&mut a, &mut b, &mut c]),
        Err(CodecError::UnequalLengths { shard: 3, len: 7, expected: 8 })
    );
    assert_eq!(
        codec.encode([&long; DATA_SHARDS], [&mut a, &mut b, &mut c[..5]]),
        Err(CodecError::UnequalLengths { shard: 8, len: 5, expected: 8 })
    );
    assert_eq!((a, b, c), ([9; 8], [9; 8], [9; 8]));
    let mut shards: [Option<&[u8]>; SHARDS] = [Some(&long); SHARDS];
    assert_eq!(codec.rebuild(&shards, &[9]), Err(CodecError::NoSuchShard { shard: 9 }));
    shards[1] = Some(&short);
    assert_eq!(codec.rebuild(&shards, &[0]), Err(CodecError::UnequalLengths { shard: 1, len: 7, expected: 8 }));
}

#[test]
fn an_empty_stripe_has_empty_parity() {
    let codec = Codec::new().unwrap();
    let whole = encoded(&codec, &stripe(0, 1));
    assert!(whole.iter().all(Vec::is_empty));
    let shards: [Option<&[u8]>; SHARDS] = std::array::from_fn(|i| (i > 2).then_some(&[][..]));
    assert_eq!(codec.rebuild(&shards, &[0, 1, 2]), Ok(vec![vec![]; 3]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_three_lost_at_any_length_are_rebuilt(
        len in prop_oneof![0usize..300, 0usize..40_000],
        seed: u64,
        lost in proptest::sample::subsequence((0..SHARDS).collect::<Vec<_>>(), 0..=PARITY_SHARDS),
    ) {
        let codec = Codec::new().unwrap();
        let whole = encoded(&codec, &stripe(len, seed));
        let shards = std::array::from_fn(|i| (!lost.contains(&i)).then_some(&whole[i][..]));
        for (rebuilt, &shard) in codec.rebuild(&shards, &lost).unwrap().iter().zip(&lost) {
            prop_assert!(*rebuilt == whole[shard], "shard {}", shard);
        }
    }

    #[test]
    fn four_lost_are_an_error(
        len in 0usize..300,
        lost in proptest::sample::subsequence((0..SHARDS).collect::<Vec<_>>(), 4..=SHARDS),
    ) {
        let codec = Codec::new().unwrap();
        let whole = encoded(&codec, &stripe(len, 5));
        let shards = std::array::from_fn(|i| (!lost.contains(&i)).then_some(&whole[i][..]));
        prop_assert_eq!(
            codec.rebuild(&shards, &lost[..1]),
            Err(CodecError::TooFewShards { present: SHARDS - lost.len() })
        );
    }
}
