//! The erasure code alone: a 1 MiB stripe encoded, and rebuilt with three data shards lost.
//!
//! Ours with the kernel chosen for this processor, ours with plain Rust, and `reed-solomon-erasure` as it comes.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ninefold::chunks::codec::Codec;
use ninefold::chunks::codec::kernels::{Best, Kernel, Scalar};
use ninefold::layout::{DATA_SHARDS, PARITY_SHARDS, SHARDS, STRIPE_LEN};
use reed_solomon_erasure::galois_8;

fn stripe() -> Vec<Vec<u8>> {
    let len = (STRIPE_LEN as usize).div_ceil(DATA_SHARDS);
    (0..SHARDS).map(|i| (0..len).map(|j| (i * 131 + j * 29 + (j >> 7)) as u8).collect()).collect()
}

fn ours<K: Kernel>(c: &mut Criterion, name: &str) {
    let codec = Codec::<K>::with_kernel().expect("6+3 is a code");
    let mut shards = stripe();

    let mut group = c.benchmark_group("encode 1 MiB");
    group.throughput(Throughput::Bytes(u64::from(STRIPE_LEN)));
    group.bench_function(name, |b| {
        b.iter(|| {
            let (data, parity) = shards.split_at_mut(DATA_SHARDS);
            let [p, q, r] = parity else { unreachable!("three parity shards") };
            codec.encode(std::array::from_fn(|i| &black_box(&data[i])[..]), [p, q, r]).expect("equal lengths");
        });
    });
    group.finish();

    let mut group = c.benchmark_group("rebuild 1 MiB, three data shards lost");
    group.throughput(Throughput::Bytes(u64::from(STRIPE_LEN)));
    let present = std::array::from_fn(|i| (i >= PARITY_SHARDS).then_some(&shards[i][..]));
    group.bench_function(name, |b| b.iter(|| codec.rebuild(black_box(&present), &[0, 1, 2]).expect("six are left")));
    group.finish();
}

fn theirs(c: &mut Criterion) {
    let code = galois_8::ReedSolomon::new(DATA_SHARDS, PARITY_SHARDS).expect("6+3 is a code");
    let mut shards = stripe();

    let mut group = c.benchmark_group("encode 1 MiB");
    group.throughput(Throughput::Bytes(u64::from(STRIPE_LEN)));
    group.bench_function("galois_8", |b| b.iter(|| code.encode(black_box(&mut shards)).expect("equal lengths")));
    group.finish();

    let mut group = c.benchmark_group("rebuild 1 MiB, three data shards lost");
    group.throughput(Throughput::Bytes(u64::from(STRIPE_LEN)));
    let mut shards: Vec<Option<Vec<u8>>> = shards.into_iter().map(Some).collect();
    group.bench_function("galois_8", |b| {
        b.iter(|| {
            shards[..PARITY_SHARDS].fill(None);
            code.reconstruct_data(black_box(&mut shards)).expect("six are left");
        });
    });
    group.finish();
}

fn codec(c: &mut Criterion) {
    ours::<Best>(c, &format!("chosen ({})", Best::name()));
    ours::<Scalar>(c, "scalar");
    theirs(c);
}

criterion_group!(benches, codec);
criterion_main!(benches);
