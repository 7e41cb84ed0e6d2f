//! Which nine volumes a new chunk's shards go to: consistent hashing, with rules for zones and nodes.
//!
//! Each volume has points on a ring, as many as its weight asks for. A chunk's hash is a place on the ring; from there the
//! ring is walked, and the first nine distinct volumes that the rules admit are the chunk's. What was chosen is stored with the
//! chunk, so the ring may change at any time: it decides where new shards go, and where old ones would be at home.
//!
//! The rules: at most 2 of a chunk's shards in a zone where there are at least 5 zones, else as even as can be; at most 3 on a
//! node where there are nodes enough. Where that leaves too few places, the least that helps is allowed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::layout::{ChunkId, DATA_SHARDS, Placement, SHARDS, ShardSet, Slot, VolumeSlot};
use crate::volumes::{Member, VolumeSet};

/// Points of a volume of the least weight: enough that chance moves its share by a few percent only.
const REPLICAS: f64 = 2048.0;
/// Points of all volumes together, about: where weights differ so much that it would be more, the light ones have fewer.
const POINTS_MAX: f64 = (1 << 19) as f64;
/// A chunk that has not found its volumes after as many points for each member chooses the rest without the ring.
const WALK_PER_MEMBER: usize = 16;
/// Share of all chunks above which a volume is simply in all of them.
const ALWAYS: f64 = 0.995;
/// A zone's shards of one chunk where there are [`ZONES_ENOUGH`] zones.
const ZONE_SHARDS: usize = 2;
const ZONES_ENOUGH: usize = 5;
/// A node's shards of one chunk: losing a node loses no data.
const NODE_SHARDS: usize = 3;

/// A chunk that cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Fewer than six volumes take writes.
    #[error("chunk {chunk}: only {usable} volumes can take a shard, {DATA_SHARDS} are needed")]
    TooFewVolumes {
        /// The chunk.
        chunk: ChunkId,
        /// Volumes that can take one, those excluded left out.
        usable: usize,
    },
}

/// What the ring needs to know of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct RingMember {
    /// Its number.
    pub slot: VolumeSlot,
    /// The node that carries it.
    pub node: Arc<str>,
    /// The node's zone.
    pub zone: Arc<str>,
    /// The zone's region.
    pub region: Arc<str>,
    /// Share of the data relative to other volumes. Without a positive weight it gets nothing.
    pub weight: f64,
    /// Whether new shards may go there: it is neither failed, draining nor full.
    pub usable: bool,
}

/// The ring of one state of the volumes.
#[derive(Debug)]
pub struct Ring {
    members: Vec<Entry>,
    zones: usize,
    nodes: Vec<Zone>,
    by_slot: HashMap<VolumeSlot, Index>,
    /// Places on the ring, ascending, and the member at each.
    points: Vec<u64>,
    owners: Vec<Index>,
    /// Expected shards a chunk, by member.
    shares: Vec<f64>,
    /// What the rules come to when no volume is excluded.
    rules: Rules,
}

/// Index of a member.
type Index = u16;
/// Index of a zone.
type Zone = u16;

#[derive(Debug)]
struct Entry {
    slot: VolumeSlot,
    zone: Zone,
    node: u16,
    weight: f64,
    usable: bool,
}

/// How many shards to place, and how many of a chunk's a zone and a node may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    want: usize,
    /// Whether all volumes there are for it are wanted.
    all: bool,
    zone: usize,
    node: usize,
}

/// The volumes chosen for a chunk.
#[derive(Debug, Default, Clone, Copy)]
struct Chosen {
    count: usize,
    members: [Index; SHARDS],
    zones: [Zone; SHARDS],
    nodes: [u16; SHARDS],
}

impl Chosen {
    fn members(&self) -> &[Index] {
        &self.members[..self.count]
    }

    fn has(&self, member: Index) -> bool {
        self.members().contains(&member)
    }

    fn admits(&self, entry: &Entry, rules: Rules) -> bool {
        let count = |of: &[u16], one: u16| of[..self.count].iter().filter(|&&other| other == one).count();
        count(&self.zones, entry.zone) < rules.zone && count(&self.nodes, entry.node) < rules.node
    }

    fn add(&mut self, member: Index, entry: &Entry) {
        if self.count < SHARDS {
            self.members[self.count] = member;
            self.zones[self.count] = entry.zone;
            self.nodes[self.count] = entry.node;
            self.count += 1;
        }
    }
}

impl Ring {
    /// The ring of these volumes. Members that are not usable get no shards, but those they have count for their zone and node.
    pub fn new(members: impl IntoIterator<Item = RingMember>) -> Self {
        let mut zone_numbers = HashMap::new();
        let mut node_numbers = HashMap::new();
        let mut nodes = Vec::new();
        let mut entries = Vec::new();
        let mut by_slot = HashMap::new();
        // A slot is 16 bits, so its volumes, nodes and zones can be counted in as many, but for the very last.
        for member in members.into_iter().take(usize::from(Index::MAX)) {
            let next = zone_numbers.len() as Zone;
            let zone = *zone_numbers.entry((member.region, member.zone)).or_insert(next);
            // A node that were in two zones would be two.
            let node = *node_numbers.entry((zone, member.node)).or_insert_with(|| {
                nodes.push(zone);
                nodes.len() as u16 - 1
            });
            let usable = member.usable && member.weight.is_finite() && member.weight > 0.0;
            by_slot.insert(member.slot, entries.len() as Index);
            entries.push(Entry { slot: member.slot, zone, node, weight: member.weight, usable });
        }
        let mut ring = Self {
            members: entries,
            zones: zone_numbers.len(),
            nodes,
            by_slot,
            points: Vec::new(),
            owners: Vec::new(),
            shares: Vec::new(),
            rules: Rules { want: 0, all: true, zone: SHARDS, node: SHARDS },
        };
        ring.rules = ring.rules(&Chosen::default(), SHARDS, &[]);
        ring.shares = ring.fair_shares();
        ring.lay_points();
        ring
    }

    /// The ring of the volumes as they are now: where new shards go.
    pub fn of(volumes: &VolumeSet) -> Self {
        Self::of_usable(volumes, Member::takes_writes)
    }

    /// The ring of all volumes that are to stay, failed or full ones with them: where shards are at home. One that fails for an
    /// hour does not drive away what it has, and full ones are those that an added volume takes its share from.
    pub fn of_staying(volumes: &VolumeSet) -> Self {
        Self::of_usable(volumes, |member| !member.is_draining())
    }

    fn of_usable(volumes: &VolumeSet, usable: impl Fn(&Member) -> bool) -> Self {
        Self::new(volumes.members().values().map(|member| {
            let location = member.location();
            RingMember {
                slot: member.slot(),
                node: Arc::clone(&location.node),
                zone: Arc::clone(&location.zone),
                region: Arc::clone(&location.region),
                weight: location.weight,
                usable: usable(member),
            }
        }))
    }

    /// The volumes for a new chunk, but for those excluded, all with generation 0. With six to eight volumes the last parity
    /// shards have none.
    ///
    /// # Errors
    /// [`PlacementError::TooFewVolumes`].
    pub fn place(&self, chunk: ChunkId, exclude: &[VolumeSlot]) -> Result<Placement, PlacementError> {
        let mut chosen = Chosen::default();
        let rules = if exclude.is_empty() { self.rules } else { self.rules(&chosen, SHARDS, exclude) };
        let hash = xxh3_64(&chunk.to_bytes());
        self.choose(hash, &mut chosen, rules, exclude);
        if chosen.count < DATA_SHARDS {
            return Err(PlacementError::TooFewVolumes { chunk, usable: chosen.count });
        }
        // Which shard goes to which volume is by chance: every volume has its part of data shards, which are what is read.
        let mut order = [(0, VolumeSlot(0)); SHARDS];
        for (place, &member) in order.iter_mut().zip(chosen.members()) {
            let slot = self.members[usize::from(member)].slot;
            *place = (mix(hash, slot), slot);
        }
        let order = &mut order[..chosen.count];
        order.sort_unstable();
        let mut placement = Placement::default();
        for (place, (_, volume)) in placement.0.iter_mut().zip(order) {
            *place = Some(Slot { volume: *volume, generation: 0 });
        }
        Ok(placement)
    }

    /// Volumes for the `lost` shards of a chunk whose other shards stay where they are; `None` where there is none left. The
    /// rules hold for the whole of the chunk, as far as what stays allows. A volume that has lost its shard may be chosen
    /// again, unless it is excluded.
    pub fn replace(
        &self,
        chunk: ChunkId,
        current: &Placement,
        lost: ShardSet,
        exclude: &[VolumeSlot],
    ) -> [Option<VolumeSlot>; SHARDS] {
        let mut chosen = Chosen::default();
        let kept = current.0.iter().enumerate().filter(|(shard, _)| !lost.contains(*shard));
        for slot in kept.filter_map(|(_, slot)| *slot) {
            if let Some(&member) = self.by_slot.get(&slot.volume) {
                chosen.add(member, &self.members[usize::from(member)]);
            }
        }
        let kept = chosen.count;
        let lost: Vec<usize> = lost.iter().collect();
        let rules = self.rules(&chosen, lost.len(), exclude);
        self.choose(xxh3_64(&chunk.to_bytes()), &mut chosen, rules, exclude);
        let mut volumes = [None; SHARDS];
        for (shard, &member) in lost.into_iter().zip(&chosen.members()[kept..]) {
            volumes[shard] = Some(self.members[usize::from(member)].slot);
        }
        volumes
    }

    /// How many shards of a chunk the volume is to hold on average, by its weight and the rules: at most 1. The ring keeps to
    /// it within a tenth where the rules leave weights alone, within a fifth where zones differ so much that they do not.
    pub fn share(&self, volume: VolumeSlot) -> f64 {
        self.by_slot.get(&volume).and_then(|&member| self.shares.get(usize::from(member))).copied().unwrap_or(0.0)
    }

    /// How many volumes take new shards.
    pub fn usable(&self) -> usize {
        self.members.iter().filter(|member| member.usable).count()
    }

    /// Adds to `chosen` as many volumes as the rules want.
    fn choose(&self, hash: u64, chosen: &mut Chosen, rules: Rules, exclude: &[VolumeSlot]) {
        let target = chosen.count + rules.want;
        let admits = |chosen: &Chosen, member: Index, entry: &Entry| {
            !chosen.has(member) && chosen.admits(entry, rules) && !exclude.contains(&entry.slot)
        };
        if rules.all {
            for (i, entry) in (0..).zip(&self.members) {
                if entry.usable && admits(chosen, i, entry) {
                    chosen.add(i, entry);
                }
            }
            return;
        }
        let start = self.points.partition_point(|&point| point < hash);
        let walk = self.owners[start..].iter().chain(&self.owners[..start]);
        for &member in walk.take(WALK_PER_MEMBER * self.members.len()) {
            if chosen.count == target {
                return;
            }
            let entry = &self.members[usize::from(member)];
            if admits(chosen, member, entry) {
                chosen.add(member, entry);
            }
        }
        // Volumes so light that they are hardly on the ring, but that the rules need: each draws a lot, longer by weight.
        while chosen.count < target {
            let candidates = (0..).zip(&self.members).filter(|(i, entry)| entry.usable && admits(chosen, *i, entry));
            let lots = candidates.map(|(i, entry)| {
                let uniform = (mix(hash, entry.slot) >> 11) as f64 / (1u64 << 53) as f64;
                (-(uniform.max(f64::MIN_POSITIVE)).ln() / entry.weight, i)
            });
            let Some((_, member)) = lots.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
            chosen.add(member, &self.members[usize::from(member)]);
        }
    }

    /// The strictest rules under which `want` shards, or as many as there are volumes, find a place beside those `kept`.
    fn rules(&self, kept: &Chosen, want: usize, exclude: &[VolumeSlot]) -> Rules {
        // By node: shards kept, and volumes that could take one.
        let mut nodes = vec![(0usize, 0usize); self.nodes.len()];
        for &member in kept.members() {
            nodes[usize::from(self.members[usize::from(member)].node)].0 += 1;
        }
        for (i, entry) in (0..).zip(&self.members) {
            if entry.usable && !kept.has(i) && !exclude.contains(&entry.slot) {
                nodes[usize::from(entry.node)].1 += 1;
            }
        }
        let available = nodes.iter().map(|node| node.1).sum();
        let want = want.min(available);
        let mut room_in_zone = vec![(0usize, 0usize); self.zones];
        let mut room = |zone_cap: usize, node_cap: usize| -> usize {
            room_in_zone.fill((0, 0));
            for (&zone, &(kept, free)) in self.nodes.iter().zip(&nodes) {
                let zone = &mut room_in_zone[usize::from(zone)];
                zone.0 += kept;
                zone.1 += free.min(node_cap.saturating_sub(kept));
            }
            room_in_zone.iter().map(|&(kept, free)| free.min(zone_cap.saturating_sub(kept))).sum()
        };
        let node = (NODE_SHARDS..SHARDS).find(|&node| room(SHARDS, node) >= want).unwrap_or(SHARDS);
        let mut zones: Vec<Zone> =
            (0..).zip(&nodes).filter(|(_, n)| n.0 + n.1 > 0).map(|(i, _): (usize, _)| self.nodes[i]).collect();
        zones.sort_unstable();
        zones.dedup();
        let strictest = match zones.len() {
            ZONES_ENOUGH.. => ZONE_SHARDS,
            zones => SHARDS.div_ceil(zones.max(1)),
        };
        let zone = (strictest..SHARDS).find(|&zone| room(zone, node) >= want).unwrap_or(SHARDS);
        Rules { want, all: want == available, zone, node }
    }

    /// The expected shards a chunk of each member: by weight, as far as the rules allow; what one cannot take the others share.
    fn fair_shares(&self) -> Vec<f64> {
        let usable = |member: &&Entry| member.usable;
        let mut node_weights = vec![0.0; self.nodes.len()];
        let mut node_room = vec![0.0; self.nodes.len()];
        for member in self.members.iter().filter(usable) {
            node_weights[usize::from(member.node)] += member.weight;
            node_room[usize::from(member.node)] += 1.0;
        }
        let mut zone_weights = vec![0.0; self.zones];
        let mut zone_room = vec![0.0; self.zones];
        for (node, &zone) in self.nodes.iter().enumerate() {
            node_room[node] = f64::min(node_room[node], self.rules.node as f64);
            zone_weights[usize::from(zone)] += node_weights[node];
            zone_room[usize::from(zone)] += node_room[node];
        }
        for room in &mut zone_room {
            *room = f64::min(*room, self.rules.zone as f64);
        }
        let zones: Vec<usize> = (0..self.zones).collect();
        let mut zone_shares = vec![0.0; self.zones];
        pour(self.rules.want as f64, &zones, &zone_weights, &zone_room, &mut zone_shares);
        let mut node_shares = vec![0.0; self.nodes.len()];
        for (zone, share) in zone_shares.into_iter().enumerate() {
            let inside: Vec<usize> = (0..self.nodes.len()).filter(|&n| usize::from(self.nodes[n]) == zone).collect();
            pour(share, &inside, &node_weights, &node_room, &mut node_shares);
        }
        let weights: Vec<f64> = self.members.iter().map(|m| if m.usable { m.weight } else { 0.0 }).collect();
        let room = vec![1.0; self.members.len()];
        let mut on_node = vec![Vec::new(); self.nodes.len()];
        for (i, member) in self.members.iter().enumerate().filter(|(_, member)| member.usable) {
            on_node[usize::from(member.node)].push(i);
        }
        let mut shares = vec![0.0; self.members.len()];
        for (inside, share) in on_node.iter().zip(node_shares) {
            pour(share, inside, &weights, &room, &mut shares);
        }
        shares
    }

    /// Lays each member's points. A walk collects volumes without putting them back, so that one with twice the points is in
    /// less than twice the chunks; `-ln(1 - share)` points for `share` of the chunks makes up for that. The share is that by
    /// weight alone: where a rule limits a zone, the walk sees to it.
    fn lay_points(&mut self) {
        let pull = |share: f64| -(1.0 - share.min(ALWAYS)).ln();
        let usable: Vec<usize> = (0..self.members.len()).filter(|&i| self.members[i].usable).collect();
        let weights: Vec<f64> = self.members.iter().map(|member| member.weight).collect();
        let mut shares = vec![0.0; self.members.len()];
        pour(self.rules.want as f64, &usable, &weights, &vec![1.0; weights.len()], &mut shares);
        let total: f64 = usable.iter().map(|&i| weights[i]).sum();
        let lightest = usable.iter().map(|&i| weights[i]).fold(f64::INFINITY, f64::min);
        // With nine or fewer all are chosen, which needs no ring.
        if usable.len() <= SHARDS || !lightest.is_finite() || !total.is_finite() {
            return;
        }
        // A unit that stays the same when volumes come and go, lest all points be laid anew: the pull of a weight that is a
        // power of two.
        let mut unit = lightest.log2().floor().exp2();
        let count = |unit: f64, share: f64| {
            let scale = REPLICAS / pull((self.rules.want as f64 * unit / total).min(ALWAYS));
            (pull(share) * scale).round().clamp(1.0, POINTS_MAX)
        };
        while unit < total && usable.iter().map(|&i| count(unit, shares[i])).sum::<f64>() > POINTS_MAX {
            unit *= 2.0;
        }
        let mut points = Vec::new();
        for &i in &usable {
            let slot = self.members[i].slot;
            points.extend((0..count(unit, shares[i]) as u32).map(|n| (point(slot, n), i as Index)));
        }
        points.sort_unstable();
        (self.points, self.owners) = points.into_iter().unzip();
    }
}

/// Where a volume's `n`th point is.
fn point(volume: VolumeSlot, n: u32) -> u64 {
    xxh3_64_with_seed(&n.to_le_bytes(), u64::from(volume.0))
}

/// A number by chance for a chunk and a volume.
fn mix(hash: u64, volume: VolumeSlot) -> u64 {
    xxh3_64_with_seed(&hash.to_le_bytes(), u64::from(volume.0))
}

/// Pours `amount` into those of the vessels that are `inside`, by weight; what does not fit in one goes to the others.
fn pour(mut amount: f64, inside: &[usize], weights: &[f64], room: &[f64], filled: &mut [f64]) {
    let mut open: Vec<usize> = inside.to_vec();
    loop {
        let total: f64 = open.iter().map(|&i| weights[i]).sum();
        if total <= 0.0 {
            return;
        }
        let (full, rest): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&i| amount * weights[i] / total >= room[i]);
        if full.is_empty() {
            for i in rest {
                filled[i] = amount * weights[i] / total;
            }
            return;
        }
        for i in full {
            filled[i] = room[i];
            amount -= room[i];
        }
        amount = amount.max(0.0);
        open = rest;
    }
}

/// The ring of a set of volumes, made anew when something changed that it depends on. Clones share it.
#[derive(Debug, Clone)]
pub struct Placer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    volumes: VolumeSet,
    /// The count of changes that a ring was made for. It is asked for before the members are looked at: what changes
    /// meanwhile makes another ring.
    current: RwLock<(u64, Arc<Ring>)>,
    making: Mutex<()>,
}

impl Placer {
    /// Places on these volumes.
    pub fn new(volumes: VolumeSet) -> Self {
        let current = RwLock::new((volumes.changes(), Arc::new(Ring::of(&volumes))));
        Self { inner: Arc::new(Inner { volumes, current, making: Mutex::new(()) }) }
    }

    /// The ring of the volumes as they are now, or as they were a moment ago while another thread makes the new one.
    pub fn ring(&self) -> Arc<Ring> {
        let current = || self.inner.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (made_for, ring) = current();
        if made_for == self.inner.volumes.changes() {
            return ring;
        }
        let Ok(_making) = self.inner.making.try_lock() else { return ring };
        let changes = self.inner.volumes.changes();
        let ring = Arc::new(Ring::of(&self.inner.volumes));
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = (changes, Arc::clone(&ring));
        ring
    }
}

#[cfg(test)]
mod tests;
