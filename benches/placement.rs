//! Placement alone: choosing the nine volumes of a chunk, and making the ring after a change.

#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ninefold::chunks::placement::{Ring, RingMember};
use ninefold::layout::{ChunkId, ShardSet, VolumeSlot};

/// Volumes of three weights, four to a node, over five zones (nine volumes: one node).
fn members(count: u16) -> Vec<RingMember> {
    let member = |i: u16| RingMember {
        slot: VolumeSlot(i),
        node: Arc::from(format!("n{}", if count < 20 { 0 } else { i % 5 + i / 20 * 5 })),
        zone: Arc::from(format!("z{}", if count < 20 { 0 } else { i % 5 })),
        region: "r".into(),
        weight: f64::from(1 + i % 3),
        usable: true,
    };
    (0..count).map(member).collect()
}

fn placement(c: &mut Criterion) {
    for count in [9, 20, 100] {
        let ring = Ring::new(members(count));
        let mut group = c.benchmark_group(format!("{count} volumes"));
        let mut seq = 0;
        let mut chunk = move || {
            seq += 1;
            ChunkId { seq, nonce: 7 }
        };
        group.bench_function("make the ring", |b| b.iter(|| Ring::new(black_box(members(count)))));
        group.throughput(Throughput::Elements(1));
        group.bench_function("place", |b| b.iter(|| ring.place(chunk(), &[]).expect("volumes enough")));
        group.bench_function("replace two shards", |b| {
            let placement = ring.place(chunk(), &[]).expect("volumes enough");
            b.iter(|| ring.replace(black_box(chunk()), &placement, ShardSet(0b11), &[]));
        });
        group.finish();
    }
}

criterion_group!(benches, placement);
criterion_main!(benches);
