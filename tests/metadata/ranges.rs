use std::time::Duration;

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    a_range_goes_after_it_was_swept_twice_on_every_volume,
    an_open_range_is_not_swept,
    chunks_of_a_range_are_those_with_a_row,
    all_others_are_closed_by_who_is_alone,
);

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn volumes(f: &Fixture, count: u16) -> Vec<VolumeSlot> {
    let spec = |n| VolumeSpec {
        id: format!("v{n}"),
        path: format!("/v{n}"),
        node: "node".into(),
        zone: "zone".into(),
        region: "region".into(),
        weight: 1.0,
        capacity: None,
    };
    let specs: Vec<_> = (1..=count).map(spec).collect();
    f.meta.register_volumes(&specs).await.unwrap().iter().map(|row| row.slot).collect()
}

async fn waiting(f: &Fixture, again: Duration) -> Vec<ClosedRange> {
    f.meta.ranges_to_sweep(again, 0, 10).await.unwrap()
}

// Rule 11.
async fn a_range_goes_after_it_was_swept_twice_on_every_volume(f: &Fixture) {
    let slots = volumes(f, 3).await;
    let dead = f.meta.register_instance().await.unwrap();
    let range = f.meta.reserve_range(dead, 10, u64::MAX).await.unwrap();
    let lease = f.lease("sweep").await;
    assert!(waiting(f, Duration::ZERO).await.is_empty());
    f.meta.close_instance(dead).await.unwrap();
    assert_eq!(waiting(f, DAY).await, [ClosedRange { range, done: vec![], alarm: None }]);
    assert!(f.meta.ranges_to_sweep(DAY, range.first, 10).await.unwrap().is_empty());

    f.meta.raise_alarm(&lease, range.first, "too many").await.unwrap();
    assert_eq!(waiting(f, DAY).await[0].alarm.as_deref(), Some("too many"));
    let some = [slots[0], slots[2]];
    assert_eq!(f.meta.range_swept(&lease, range.first, &some).await.unwrap(), Retired::Waiting);
    assert_eq!(f.meta.range_swept(&lease, range.first, &some[..1]).await.unwrap(), Retired::Waiting);
    let left = waiting(f, DAY).await.remove(0);
    assert_eq!((left.done.len(), left.alarm), (2, None));
    // A volume that came meanwhile may hold nothing of it, but who would know?
    let slots = volumes(f, 4).await;
    assert_eq!(f.meta.range_swept(&lease, range.first, &slots[1..2]).await.unwrap(), Retired::Waiting);
    assert_eq!(f.meta.range_swept(&lease, range.first, &slots[3..]).await.unwrap(), Retired::Once);

    assert!(waiting(f, DAY).await.is_empty());
    assert_eq!(waiting(f, Duration::ZERO).await, [ClosedRange { range, done: vec![], alarm: None }]);
    f.raw.execute("UPDATE id_ranges SET changed_at = changed_at - 86400001 WHERE state = 'swept'").await;
    assert_eq!(waiting(f, DAY).await.len(), 1);
    // A volume that is no more need not be swept.
    f.meta.remove_volume("v2").await.unwrap();
    let left = [slots[0], slots[2], slots[3]];
    assert_eq!(f.meta.range_swept(&lease, range.first, &left).await.unwrap(), Retired::Gone);
    assert_eq!(f.meta.range_swept(&lease, range.first, &left).await.unwrap(), Retired::Gone);
    assert!(waiting(f, Duration::ZERO).await.is_empty());
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM range_sweeps").await, 0);
    // The dead one goes, and one that never reserved anything; not the one that had a lease last.
    let idle = f.meta.register_instance().await.unwrap();
    let leaseholder = f.meta.register_instance().await.unwrap();
    f.meta.acquire_lease("job", leaseholder, DAY).await.unwrap().unwrap();
    for ended in [idle, leaseholder] {
        f.meta.close_instance(ended).await.unwrap();
    }
    assert_eq!(f.meta.forget_instances(&lease).await.unwrap(), 2);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM instances").await, 2);
    assert!(matches!(f.meta.heartbeat(dead, 0).await, Err(Error::RangeClosed)));

    f.raw.execute("UPDATE leases SET until = 1").await;
    assert!(matches!(f.meta.range_swept(&lease, range.first, &left).await, Err(Error::LeaseLost(_))));
    assert!(matches!(f.meta.forget_instances(&lease).await, Err(Error::LeaseLost(_))));
    assert!(matches!(f.meta.raise_alarm(&lease, range.first, "x").await, Err(Error::LeaseLost(_))));
}

async fn an_open_range_is_not_swept(f: &Fixture) {
    let lease = f.lease("sweep").await;
    let first = f.raw.int("SELECT first FROM id_ranges").await as u64;
    let swept = f.meta.range_swept(&lease, first, &[]).await;
    assert!(matches!(swept, Err(Error::Corrupt(_))), "{swept:?}");
}

async fn chunks_of_a_range_are_those_with_a_row(f: &Fixture) {
    let commit = f.commit("key", &[10, 20]).await;
    f.commit("other", &[30]).await;
    f.delete("other").await;
    f.fold_all().await;
    let [a, b] = [commit.data.chunks[0].clone(), commit.data.chunks[1].clone()];
    let range = IdRange { first: a.id.seq, last: b.id.seq, nonce: 0 };
    let expected = [(a.id, a.placement), (b.id, b.placement)];
    assert_eq!(f.meta.chunks_of_range(range).await.unwrap(), expected);
    let dead = IdRange { first: b.id.seq + 1, last: b.id.seq + 100, nonce: 0 };
    assert_eq!(f.meta.chunks_of_range(dead).await.unwrap().len(), 1, "the dead are there until they are forgotten");
}

async fn all_others_are_closed_by_who_is_alone(f: &Fixture) {
    let dead = f.meta.register_instance().await.unwrap();
    f.meta.reserve_range(dead, 10, 1).await.unwrap();
    let survivor = f.meta.register_instance().await.unwrap();
    assert_eq!(f.meta.close_others(survivor).await.unwrap(), [f.instance, dead]);
    assert!(f.meta.close_others(survivor).await.unwrap().is_empty());
    f.meta.heartbeat(survivor, 0).await.unwrap();
    assert!(matches!(f.meta.commit_put(&f.put("key", &[10])).await, Err(Error::RangeClosed)));
    assert_eq!(waiting(f, DAY).await.len(), 2);
}
