#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const CHUNKS: u64 = 100_000;

fn member(slot: usize, zone: usize, node: usize, weight: f64) -> RingMember {
    let name = |prefix: &str, i: usize| Arc::from(format!("{prefix}{i}"));
    RingMember {
        slot: VolumeSlot(slot as u16),
        node: name("n", node),
        zone: name("z", zone),
        region: "r".into(),
        weight,
        usable: true,
    }
}

/// `count` volumes, each on a node of its own, over `zones` zones.
fn spread(count: usize, zones: usize, weight: impl Fn(usize) -> f64) -> Vec<RingMember> {
    (0..count).map(|i| member(i, i % zones, i, weight(i))).collect()
}

fn chunk(seq: u64) -> ChunkId {
    ChunkId { seq, nonce: 0x5bd1_e995 }
}

fn volumes(placement: &Placement) -> Vec<VolumeSlot> {
    placement.0.iter().flatten().map(|slot| slot.volume).collect()
}

fn placed(ring: &Ring, seq: u64) -> Vec<VolumeSlot> {
    volumes(&ring.place(chunk(seq), &[]).unwrap())
}

/// Shards a chunk of each volume, over many chunks; and of data shards alone.
fn distribution(ring: &Ring, members: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut all, mut data) = (vec![0.0; members], vec![0.0; members]);
    for seq in 0..CHUNKS {
        for (shard, volume) in placed(ring, seq).into_iter().enumerate() {
            all[usize::from(volume.0)] += 1.0 / CHUNKS as f64;
            if shard < DATA_SHARDS {
                data[usize::from(volume.0)] += 1.0 / CHUNKS as f64;
            }
        }
    }
    (all, data)
}

/// The largest deviation from what was expected, as a part of it.
fn deviation(found: &[f64], expected: impl Fn(usize) -> f64) -> f64 {
    found.iter().enumerate().map(|(i, found)| (found / expected(i) - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn equal_volumes_get_equal_parts_of_all_shards_and_of_data_shards() {
    for (count, zones) in [(9, 1), (12, 3), (20, 5), (36, 1), (60, 6)] {
        let ring = Ring::new(spread(count, zones, |_| 1.0));
        let (all, data) = distribution(&ring, count);
        let worst = deviation(&all, |_| 9.0 / count as f64);
        assert!(worst < 0.1, "{count} volumes in {zones} zones: {worst}");
        let worst = deviation(&data, |_| 6.0 / count as f64);
        assert!(worst < 0.1, "{count} volumes in {zones} zones, data shards: {worst}");
    }
}

#[test]
fn volumes_get_shards_by_weight() {
    type Case = (usize, fn(usize) -> f64);
    let weights: [Case; 5] = [
        (30, |i| (1 + i % 3) as f64),
        (24, |i| if i < 12 { 4e12 } else { 8e12 }),
        (40, |i| if i == 7 { 4.0 } else { 1.0 }),
        (10, |i| if i == 3 { 0.5 } else { 1.0 }),
        (64, |i| [0.25, 1.0, 1.5, 3.7][i % 4]),
    ];
    for (count, weight) in weights {
        let total: f64 = (0..count).map(weight).sum();
        let ring = Ring::new(spread(count, 1, weight));
        let (all, _) = distribution(&ring, count);
        let worst = deviation(&all, |i| (9.0 * weight(i) / total).min(1.0));
        assert!(worst < 0.1, "{count} volumes: {worst}");
    }
}

#[test]
fn uneven_zones_share_about_what_the_rules_allow() {
    // Where a rule takes shards from one zone, which volumes get them is left to the walk: a closer match would move far more
    // when a volume comes or goes.
    for sizes in [vec![6, 3, 3, 3, 3], vec![8, 4, 2], vec![3, 2, 2, 2, 2], vec![4, 4, 3, 3, 3, 2]] {
        let zones = sizes.iter().enumerate().flat_map(|(zone, &size)| std::iter::repeat_n(zone, size));
        let members: Vec<_> = zones.enumerate().map(|(i, zone)| member(i, zone, i, 1.0)).collect();
        let count = members.len();
        let ring = Ring::new(members);
        let (all, _) = distribution(&ring, count);
        let worst = deviation(&all, |i| ring.share(VolumeSlot(i as u16)));
        assert!(worst < 0.2, "{sizes:?}: {worst}");
    }
}

#[test]
fn huge_and_meaningless_weights_do_no_harm() {
    let weights = [1e300, 1.0, 1e-300, f64::MAX, f64::NAN, -1.0, 0.0, f64::INFINITY];
    let ring = Ring::new(spread(24, 1, |i| weights[i % 8]));
    assert_eq!(ring.usable(), 12);
    assert!(ring.points.len() < 400_000);
    for seq in 0..1000 {
        let placed = placed(&ring, seq);
        assert_eq!(placed.len(), 9);
        assert!(placed.iter().all(|slot| slot.0 % 8 < 4), "{placed:?}");
    }
}

/// Shards of a chunk, on average, that one ring has elsewhere than the other.
fn moved(before: &Ring, after: &Ring) -> f64 {
    let moved: usize = (0..CHUNKS / 10)
        .map(|seq| {
            let before: BTreeSet<_> = placed(before, seq).into_iter().collect();
            placed(after, seq).iter().filter(|&volume| !before.contains(volume)).count()
        })
        .sum();
    moved as f64 / (CHUNKS / 10) as f64
}

#[test]
fn a_volume_that_comes_or_goes_moves_about_its_share() {
    let weights: [fn(usize) -> f64; 2] = [|_| 1.0, |i| (1 + i % 3) as f64];
    for weight in weights {
        for (count, zones) in [(12, 1), (20, 1), (25, 5), (60, 6)] {
            let members = spread(count, zones, weight);
            let all = Ring::new(members.clone());
            for gone in [0, count / 2 + 1] {
                let mut fewer = members.clone();
                fewer.remove(gone);
                let fewer = Ring::new(fewer);
                let share = all.share(VolumeSlot(gone as u16));
                for (from, to) in [(&all, &fewer), (&fewer, &all)] {
                    let moved = moved(from, to);
                    assert!(moved < share * 1.5, "{count} volumes in {zones} zones without {gone}: {moved} of {share}");
                    assert!(moved > share * 0.8, "{count} volumes in {zones} zones without {gone}: {moved} of {share}");
                }
            }
        }
    }
}

#[test]
fn a_volume_that_cannot_be_used_keeps_the_others_where_they_are() {
    let mut members = spread(20, 1, |_| 1.0);
    let all = Ring::new(members.clone());
    members[4].usable = false;
    let fewer = Ring::new(members);
    assert_eq!(fewer.share(VolumeSlot(4)), 0.0);
    for seq in 0..5000 {
        let (before, after) = (placed(&all, seq), placed(&fewer, seq));
        assert!(!after.contains(&VolumeSlot(4)));
        let kept = before.iter().filter(|volume| after.contains(volume)).count();
        assert_eq!(kept, before.len() - usize::from(before.contains(&VolumeSlot(4))));
    }
}

/// The most shards of a chunk in one zone, and on one node.
fn crowded(members: &[RingMember], volumes: &[VolumeSlot]) -> (usize, usize) {
    let (mut zones, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    for slot in volumes {
        let member = members.iter().find(|member| member.slot == *slot).unwrap();
        *zones.entry(&member.zone).or_insert(0) += 1;
        *nodes.entry((&member.zone, &member.node)).or_insert(0) += 1;
    }
    (zones.into_values().max().unwrap_or(0), nodes.into_values().max().unwrap_or(0))
}

#[test]
fn the_rules_for_zones_and_nodes_hold_or_give_way_by_the_least() {
    // Volumes a node, by zone, and the most shards in a zone and on a node that must come of it.
    type Case = (&'static [&'static [usize]], usize, usize);
    let cases: [Case; 12] = [
        (&[&[2], &[2], &[2], &[2], &[2]], 2, 2),
        (&[&[8], &[8], &[8], &[8], &[8], &[8]], 2, 2),
        (&[&[4, 4], &[4, 4], &[4, 4]], 3, 3),
        (&[&[3, 3, 3], &[3, 3, 3], &[3, 3, 3], &[3, 3, 3]], 3, 3),
        (&[&[9]], 9, 9),
        (&[&[20]], 9, 9),
        (&[&[5, 5, 5]], 9, 3),
        (&[&[8, 8]], 9, 5),
        (&[&[10], &[10]], 5, 5),
        (&[&[7], &[1], &[1]], 7, 7),
        (&[&[1, 1, 1, 1, 1], &[1], &[1], &[1], &[1]], 5, 1),
        (&[&[4], &[2], &[2], &[2], &[1]], 2, 2),
    ];
    for (topology, zone, node) in cases {
        let mut members = Vec::new();
        let mut nodes = 0;
        for (zone, sizes) in topology.iter().enumerate() {
            for &size in *sizes {
                nodes += 1;
                members.extend((0..size).map(|i| member(members.len() + i, zone, nodes, 1.0)).collect::<Vec<_>>());
            }
        }
        let ring = Ring::new(members.clone());
        let mut most = (0, 0);
        for seq in 0..2000 {
            let placed = placed(&ring, seq);
            assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), 9, "{topology:?}");
            let (zone, node) = crowded(&members, &placed);
            most = (most.0.max(zone), most.1.max(node));
        }
        assert!(most.0 <= zone && most.1 <= node, "{topology:?}: {most:?}");
        assert_eq!(most.0, zone, "{topology:?}");
    }
}

#[test]
fn fewer_than_nine_volumes_hold_the_data_and_what_parity_they_can() {
    for count in 0..9 {
        let ring = Ring::new(spread(count, 3, |_| 1.0));
        let placed = ring.place(chunk(1), &[]);
        if count < DATA_SHARDS {
            assert_eq!(placed, Err(PlacementError::TooFewVolumes { chunk: chunk(1), usable: count }));
        } else {
            let placed = placed.unwrap();
            assert!(placed.0[..count].iter().all(Option::is_some) && placed.0[count..].iter().all(Option::is_none));
            assert_eq!(volumes(&placed).iter().collect::<BTreeSet<_>>().len(), count);
        }
    }
    let ring = Ring::new(spread(9, 1, |_| 1.0));
    let exclude = [VolumeSlot(0), VolumeSlot(4)];
    let placed = volumes(&ring.place(chunk(2), &exclude).unwrap());
    assert_eq!(placed.len(), 7);
    assert!(!placed.iter().any(|slot| exclude.contains(slot)));
    let exclude: Vec<_> = (0..4).map(VolumeSlot).collect();
    assert_eq!(ring.place(chunk(2), &exclude), Err(PlacementError::TooFewVolumes { chunk: chunk(2), usable: 5 }));
}

#[test]
fn light_volumes_that_the_rules_need_are_found() {
    // A node may have three, so all six others are needed, which are next to nothing on the ring.
    let mut members: Vec<_> = (0..20).map(|i| member(i, 0, 0, 1e9)).collect();
    members.extend((20..26).map(|i| member(i, 0, i, 1e-9)));
    let ring = Ring::new(members);
    assert!(ring.owners.iter().filter(|&&owner| owner >= 20).count() < 100);
    for seq in 0..2000 {
        let placed = placed(&ring, seq);
        assert_eq!(placed.iter().filter(|slot| slot.0 >= 20).count(), 6, "{placed:?}");
        assert_eq!(placed.len(), 9);
    }
}

#[test]
fn lost_shards_find_other_volumes_by_the_same_rules() {
    let members = spread(25, 5, |_| 1.0);
    let ring = Ring::new(members.clone());
    for seq in 0..2000 {
        let mut placement = ring.place(chunk(seq), &[]).unwrap();
        let lost = ShardSet(0b1_0000_1001);
        let exclude: Vec<_> = lost.iter().map(|shard| placement.0[shard].unwrap().volume).collect();
        let found = ring.replace(chunk(seq), &placement, lost, &exclude);
        for (shard, volume) in found.into_iter().enumerate() {
            assert_eq!(volume.is_some(), lost.contains(shard));
            if let Some(volume) = volume {
                assert!(!exclude.contains(&volume));
                placement.0[shard] = Some(Slot { volume, generation: 1 });
            }
        }
        let volumes = volumes(&placement);
        assert_eq!(volumes.iter().collect::<BTreeSet<_>>().len(), 9);
        assert!(crowded(&members, &volumes).0 <= 2);
        // Not excluded, the same volumes are the first choice again.
        let again = ring.replace(chunk(seq), &ring.place(chunk(seq), &[]).unwrap(), lost, &[]);
        assert_eq!(again.iter().flatten().collect::<BTreeSet<_>>(), exclude.iter().collect());
    }
    // Nine volumes, one of them lost: nowhere to go, unless it may be used again.
    let ring = Ring::new(spread(9, 1, |_| 1.0));
    let placement = ring.place(chunk(1), &[]).unwrap();
    let lost = ShardSet(0b100);
    let volume = placement.0[2].unwrap().volume;
    assert_eq!(ring.replace(chunk(1), &placement, lost, &[volume]), [None; 9]);
    assert_eq!(ring.replace(chunk(1), &placement, lost, &[])[2], Some(volume));
}

#[test]
fn the_placer_makes_a_ring_only_when_something_changed() {
    let placer = Placer::new(VolumeSet::default());
    let ring = placer.ring();
    assert!(Arc::ptr_eq(&ring, &placer.ring()));
    assert!(ring.place(chunk(1), &[]).is_err());
    placer.inner.volumes.remove(VolumeSlot(1));
    assert!(!Arc::ptr_eq(&ring, &placer.ring()));
    assert!(Arc::ptr_eq(&placer.ring(), &placer.ring()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn placements_are_distinct_usable_and_as_spread_as_can_be(
        members in proptest::collection::vec((0usize..7, 0usize..4, 1u32..6, 0u8..8), 1..30),
        excluded in proptest::collection::vec(0u16..30, 0..3),
        seq: u64,
    ) {
        let members: Vec<_> = members.into_iter().enumerate().map(|(i, (zone, node, weight, state))| {
            let mut member = member(i, zone, zone * 10 + node, f64::from(weight));
            member.usable = state > 0;
            member
        }).collect();
        let exclude: Vec<_> = excluded.into_iter().map(VolumeSlot).collect();
        let ring = Ring::new(members.clone());
        let usable: Vec<_> = members.iter().filter(|m| m.usable && !exclude.contains(&m.slot)).collect();
        let placement = match ring.place(chunk(seq), &exclude) {
            Ok(placement) => placement,
            Err(error) => {
                prop_assert!(usable.len() < 6);
                prop_assert_eq!(error, PlacementError::TooFewVolumes { chunk: chunk(seq), usable: usable.len() });
                return Ok(());
            }
        };
        let placed = volumes(&placement);
        prop_assert_eq!(placed.len(), usable.len().min(9));
        prop_assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len());
        prop_assert!(placed.iter().all(|slot| usable.iter().any(|member| member.slot == *slot)));
        prop_assert_eq!(ring.place(chunk(seq), &exclude), Ok(placement));

        // The rules give way only where they must: one less a zone, or a node, would leave too little room.
        let (zone, node) = crowded(&members, &placed);
        let zones: BTreeSet<_> = usable.iter().map(|member| &member.zone).collect();
        let base = if zones.len() >= 5 { 2 } else { 9usize.div_ceil(zones.len()) };
        let room = |zone_cap: usize, node_cap: usize| -> usize {
            let mut nodes = BTreeMap::new();
            for member in &usable {
                *nodes.entry((&member.zone, &member.node)).or_insert(0usize) += 1;
            }
            let mut zones = BTreeMap::new();
            for ((zone, _), count) in nodes {
                *zones.entry(zone).or_insert(0) += count.min(node_cap);
            }
            zones.into_values().map(|count: usize| count.min(zone_cap)).sum()
        };
        if node > 3 {
            prop_assert!(room(9, node - 1) < placed.len(), "{} on a node", node);
        }
        if zone > base {
            let node_cap = (3..=9).find(|&cap| room(9, cap) >= placed.len()).unwrap();
            prop_assert!(room(zone - 1, node_cap) < placed.len(), "{} in a zone", zone);
        }

        // And so for what replaces any three of them.
        let lost = ShardSet((seq % 512) as u16 & 0b1_0010_0100);
        let replaced = ring.replace(chunk(seq), &placement, lost, &exclude);
        let mut all: Vec<_> = placement.0.iter().enumerate()
            .filter(|(shard, _)| !lost.contains(*shard)).filter_map(|(_, slot)| slot.map(|slot| slot.volume)).collect();
        all.extend(replaced.iter().flatten());
        prop_assert_eq!(all.len(), usable.len().min(all.len().max(placed.len())));
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
