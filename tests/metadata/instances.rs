use std::time::Duration;

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    ids_are_reserved_once_and_ranges_close_with_their_instance,
    ids_outside_open_ranges_are_refused,
    closing_a_range_seals_its_open_chunks,
    the_silent_are_judged_only_by_the_living,
    leases_are_fenced,
    a_lease_has_one_holder,
    who_is_closed_holds_no_lease,
);

// Rule 10.
async fn ids_are_reserved_once_and_ranges_close_with_their_instance(f: &Fixture) {
    let reserved = all((0..10).map(|i| {
        let (meta, instance) = (f.meta.clone(), f.instance);
        async move { meta.reserve_range(instance, 100, i).await.unwrap() }
    }))
    .await;
    let mut ranges = reserved.clone();
    ranges.sort_by_key(|range| range.first);
    assert!(ranges.iter().all(|range| range.last - range.first == 99));
    assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{ranges:?}");

    let other = f.meta.register_instance().await.unwrap();
    assert!(other > f.instance);
    f.meta.heartbeat(other, 0).await.unwrap();
    f.meta.close_instance(other).await.unwrap();
    f.meta.close_instance(other).await.unwrap();
    assert!(matches!(f.meta.heartbeat(other, 0).await, Err(Error::RangeClosed)));
    assert!(matches!(f.meta.reserve_range(other, 1, 1).await, Err(Error::RangeClosed)));
    assert!(matches!(f.meta.reserve_range(InstanceId(1 << 40), 1, 1).await, Err(Error::RangeClosed)));
    // What the other had reserved is not given again.
    let next = f.meta.reserve_range(f.instance, 1, 7).await.unwrap();
    assert_eq!((next.first, next.last, next.nonce), (ranges[9].last + 1, ranges[9].last + 1, 7));
    // The first instance's ranges are still open.
    f.commit("key", &[10]).await;
    f.meta.close_instance(f.instance).await.unwrap();
    assert!(matches!(f.meta.commit_put(&f.put("key", &[10])).await, Err(Error::RangeClosed)));
    // What needs no new chunk is not for the range to forbid.
    f.delete("key").await;
}

async fn ids_outside_open_ranges_are_refused(f: &Fixture) {
    let nonce = 1u64 << 63 | 5;
    let range = f.meta.reserve_range(f.instance, 10, nonce).await.unwrap();
    let put = |id: ChunkId| {
        let mut commit = f.put("key", &[10]);
        commit.data.chunks[0].id = id;
        commit.data.extents[0].chunk = id;
        commit
    };
    for (seq, nonce) in [(range.last + 1, nonce), (range.first, 5), (0, nonce)] {
        let result = f.meta.commit_put(&put(ChunkId { seq, nonce })).await;
        assert!(matches!(result, Err(Error::RangeClosed)), "{result:?}");
    }
    f.meta.commit_put(&put(ChunkId { seq: range.last, nonce })).await.unwrap();
    // Chunks of several ranges in one commit: each must be open.
    let other = f.meta.register_instance().await.unwrap();
    let theirs = f.meta.reserve_range(other, 10, 9).await.unwrap();
    let mixed = |own: u64, their: u64| {
        let mut commit = f.put("key", &[10, 10, 10]);
        let ids = [(range.first + own, nonce), (theirs.first + their, 9)];
        for (i, (seq, nonce)) in ids.into_iter().enumerate() {
            commit.data.chunks[i].id = ChunkId { seq, nonce };
            commit.data.extents[i].chunk = ChunkId { seq, nonce };
        }
        commit
    };
    f.meta.commit_put(&mixed(0, 0)).await.unwrap();
    f.meta.close_instance(other).await.unwrap();
    assert!(matches!(f.meta.commit_put(&mixed(1, 1)).await, Err(Error::RangeClosed)));
}

async fn closing_a_range_seals_its_open_chunks(f: &Fixture) {
    f.commit("mine", &[10]).await;
    let other = f.meta.register_instance().await.unwrap();
    let range = f.meta.reserve_range(other, 2, u64::MAX).await.unwrap();
    let mut commit = f.put("theirs", &[10]);
    let id = ChunkId { seq: range.last, nonce: range.nonce };
    commit.data.chunks[0].id = id;
    commit.data.extents[0].chunk = id;
    f.meta.commit_put(&commit).await.unwrap();
    f.raw.execute("UPDATE chunks SET state = 'open'").await;
    f.meta.close_instance(other).await.unwrap();
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE state = 'open'").await, 1);
    f.meta.close_instance(f.instance).await.unwrap();
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM chunks WHERE state = 'open'").await, 0);
}

// Rule 15.
async fn the_silent_are_judged_only_by_the_living(f: &Fixture) {
    let minute = Duration::from_secs(60);
    let other = f.meta.register_instance().await.unwrap();
    assert!(f.meta.silent_instances(f.instance, minute).await.unwrap().is_empty());
    assert!(!f.meta.close_silent(f.instance, other, minute).await.unwrap());
    f.raw.execute("UPDATE instances SET heartbeat_at = heartbeat_at - 61000").await;
    assert_eq!(f.meta.silent_instances(f.instance, minute).await.unwrap(), [other]);
    // Heard of between the look and the judgement.
    f.meta.heartbeat(other, 0).await.unwrap();
    assert!(!f.meta.close_silent(f.instance, other, minute).await.unwrap());
    f.meta.heartbeat(other, 0).await.unwrap();

    // Each thinks the other dead: one of them is right, and the other no longer judges.
    f.raw.execute("UPDATE instances SET heartbeat_at = heartbeat_at - 61000").await;
    let pairs = [(f.instance, other), (other, f.instance)];
    let results = all(pairs.map(|(judge, judged)| {
        let meta = f.meta.clone();
        async move { meta.close_silent(judge, judged, minute).await }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(true))).count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::RangeClosed))).count(), 1, "{results:?}");
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM instances WHERE state = 'live'").await, 1);
}

async fn leases_are_fenced(f: &Fixture) {
    let long = Duration::from_secs(600);
    let other = f.meta.register_instance().await.unwrap();
    let first = f.meta.acquire_lease("gc", f.instance, long).await.unwrap().unwrap();
    assert_eq!(f.meta.acquire_lease("gc", other, long).await.unwrap(), None);
    assert_eq!(f.meta.acquire_lease("gc", f.instance, long).await.unwrap(), Some(first.clone()));
    assert!(f.meta.acquire_lease("heal", other, long).await.unwrap().is_some());
    // Another's release changes nothing.
    f.meta.release_lease(&first, other).await.unwrap();
    f.meta.fold_released(&first, 10).await.unwrap();

    f.raw.execute("UPDATE leases SET until = 1 WHERE job = 'gc'").await;
    assert!(matches!(f.meta.fold_released(&first, 10).await, Err(Error::LeaseLost(_))));
    let second = f.meta.acquire_lease("gc", other, long).await.unwrap().unwrap();
    assert!(second.token > first.token);
    let chunk = DeadChunk { id: f.chunk_id(), placement: Placement::default(), missing: ShardSet::default() };
    assert!(matches!(f.meta.fold_released(&first, 10).await, Err(Error::LeaseLost(_))));
    assert!(matches!(f.meta.forget_chunk(&first, &chunk, &[]).await, Err(Error::LeaseLost(_))));
    assert!(matches!(f.meta.expire_uploads(&first, NOW, NOW, 1).await, Err(Error::LeaseLost(_))));
    assert!(matches!(f.meta.prune_commits(&first, long, 1).await, Err(Error::LeaseLost(_))));
    assert_eq!(f.meta.acquire_lease("gc", f.instance, long).await.unwrap(), None);
    f.meta.release_lease(&first, f.instance).await.unwrap();
    f.meta.fold_released(&second, 10).await.unwrap();

    // Given up, it is free at once; run out, even its last holder gets a new token.
    f.meta.release_lease(&second, other).await.unwrap();
    let third = f.meta.acquire_lease("gc", f.instance, long).await.unwrap().unwrap();
    assert!(third.token > second.token);
    f.raw.execute("UPDATE leases SET until = 1").await;
    assert!(f.meta.acquire_lease("gc", f.instance, long).await.unwrap().unwrap().token > third.token);

    // Old commit ids go, young ones stay.
    let lease = f.lease("prune").await;
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(f.meta.prune_commits(&lease, day, 10).await.unwrap(), 0);
    let young = f.raw.int("SELECT COUNT(*) FROM commits").await;
    f.commit("key", &[]).await;
    f.commit("key", &[]).await;
    f.raw.execute("UPDATE commits SET at = at - 86500000").await;
    f.commit("key", &[]).await;
    assert_eq!(f.meta.prune_commits(&lease, day, 1).await.unwrap(), 1);
    assert_eq!(f.meta.prune_commits(&lease, day, 1000).await.unwrap(), young as u64 + 1);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM commits").await, 1);
}

async fn who_is_closed_holds_no_lease(f: &Fixture) {
    let other = f.meta.register_instance().await.unwrap();
    let long = Duration::from_secs(600);
    let held = f.meta.acquire_lease("gc", other, long).await.unwrap().unwrap();
    f.meta.close_instance(other).await.unwrap();
    assert!(matches!(f.meta.fold_released(&held, 10).await, Err(Error::LeaseLost(_))));
    let taken = f.meta.acquire_lease("gc", f.instance, long).await.unwrap().unwrap();
    assert!(taken.token > held.token);
}

async fn a_lease_has_one_holder(f: &Fixture) {
    let mut instances = Vec::new();
    for _ in 0..8 {
        instances.push(f.meta.register_instance().await.unwrap());
    }
    for round in 1..=3 {
        let leases = all(instances.clone().into_iter().map(|instance| {
            let meta = f.meta.clone();
            async move { meta.acquire_lease("job", instance, Duration::from_secs(60)).await.unwrap() }
        }))
        .await;
        let won: Vec<_> = leases.into_iter().flatten().collect();
        assert_eq!(won.iter().map(|lease| lease.token).collect::<Vec<_>>(), [round]);
        f.raw.execute("UPDATE leases SET until = 1").await;
    }
}
