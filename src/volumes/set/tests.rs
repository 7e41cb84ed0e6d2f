#![allow(clippy::unwrap_used, clippy::expect_used)]

use tempfile::TempDir;

use super::*;
use crate::layout::ChunkId;
use crate::volumes::fault::{Fault, FaultVolume, Faults, Gate, Operation};
use crate::volumes::{Identity, IoConfig, LocalVolume, prober};

const SHARD: ShardName = ShardName { chunk: ChunkId { seq: 1, nonce: 2 }, shard: 0, generation: 0 };

fn member(temporary: &TempDir, slot: u16) -> (Member, Faults) {
    let identity = Identity { deployment: "d".into(), volume: format!("v{slot}"), slot: VolumeSlot(slot), epoch: 0 };
    let path = temporary.path().join(&identity.volume);
    LocalVolume::format(&path, &identity).unwrap();
    let volume = FaultVolume::new(LocalVolume::open(path, identity, IoConfig::default()).unwrap());
    let faults = volume.faults();
    let location = Location { node: "n".into(), zone: "z".into(), region: "r".into(), weight: 1.0 };
    (Member::new(Arc::new(volume), location), faults)
}

async fn set_of_one() -> (TempDir, VolumeSet, Arc<Member>, Faults) {
    let temporary = tempfile::tempdir().unwrap();
    let (member, faults) = member(&temporary, 1);
    let set = VolumeSet::new([member]);
    set.check_all().await;
    let member = set.get(VolumeSlot(1)).unwrap();
    assert_eq!(member.status(), Status::Healthy);
    (temporary, set, member, faults)
}

#[tokio::test]
async fn errors_in_a_row_degrade_then_fail_a_volume_and_probes_bring_it_back() {
    let (_temporary, set, member, faults) = set_of_one().await;
    member.create(SHARD, Bytes::from_static(b"x")).await.unwrap();
    let before = set.changes();
    faults.always(Operation::Read, Fault::Io(5));
    let mut seen = Vec::new();
    for _ in 0..12 {
        member.read(SHARD, 0, 1).await.unwrap_err();
        seen.push(member.status());
    }
    assert_eq!(seen[1], Status::Healthy);
    assert_eq!(seen[2], Status::Degraded);
    assert_eq!(seen[9], Status::Failed);
    assert_eq!(set.changes(), before + 1, "it does not take writes any more");
    assert!(!member.takes_writes());

    faults.clear();
    member.read(SHARD, 0, 1).await.unwrap();
    assert_eq!(member.status(), Status::Failed, "only a probe brings a volume back");
    member.check().await.unwrap();
    assert_eq!(member.status(), Status::Degraded);
    assert!(member.takes_writes());
    member.check().await.unwrap();
    assert_eq!(member.status(), Status::Healthy);
    assert_eq!(set.changes(), before + 2);
    assert!(member.read_latency().is_some());
}

#[tokio::test]
async fn answers_about_files_do_not_count_against_a_volume() {
    let (_temporary, set, member, faults) = set_of_one().await;
    let before = set.changes();
    for _ in 0..30 {
        assert!(matches!(member.read(SHARD, 0, 1).await, Err(VolumeError::Absent { .. })));
    }
    member.create(SHARD, Bytes::new()).await.unwrap();
    for _ in 0..30 {
        assert!(matches!(member.read(SHARD, 0, 1).await, Err(VolumeError::Truncated { .. })));
        assert!(matches!(member.create(SHARD, Bytes::new()).await, Err(VolumeError::Exists { .. })));
    }
    member.sync(SHARD).await.unwrap();
    for _ in 0..30 {
        assert!(matches!(member.sync(SHARD).await, Err(VolumeError::Io { .. })));
    }
    assert_eq!((member.status(), set.changes()), (Status::Healthy, before));

    faults.next(Operation::Sync, [Fault::Io(5)]);
    member.sync(SHARD).await.unwrap_err();
    assert_eq!(member.status(), Status::Degraded, "a failed sync makes a volume suspect at once");
}

#[tokio::test]
async fn a_full_volume_takes_no_writes_until_there_is_room() {
    let (_temporary, set, member, faults) = set_of_one().await;
    let before = set.changes();
    faults.next(Operation::Create, [Fault::Full]);
    member.create(SHARD, Bytes::new()).await.unwrap_err();
    assert!(member.is_full() && !member.takes_writes());
    assert_eq!((member.status(), set.changes()), (Status::Healthy, before + 1));
    let full = Usage { capacity: 100 << 30, used: (100 << 30) - RESERVE };
    member.set_usage(full);
    assert!(member.is_full());
    member.set_usage(Usage { used: full.used - RESERVE, ..full });
    assert!(member.is_full(), "not back and forth at the edge");
    member.set_usage(Usage { used: full.used - RESERVE - 1, ..full });
    assert!(member.takes_writes());
    member.set_usage(full);
    assert!(member.is_full());
    assert_eq!(set.changes(), before + 3);
}

#[tokio::test]
async fn a_volume_that_fails_while_it_drains_drains_again_when_it_is_back() {
    let (_temporary, _set, member, faults) = set_of_one().await;
    member.set_draining(true);
    assert_eq!(member.status(), Status::Draining);
    assert!(!member.takes_writes());
    faults.vanish(true);
    member.check().await.unwrap_err();
    assert_eq!(member.status(), Status::Failed);
    faults.vanish(false);
    member.check().await.unwrap();
    assert_eq!(member.status(), Status::Draining);
    member.set_draining(false);
    assert_eq!(member.status(), Status::Degraded);
    member.check().await.unwrap();
    assert_eq!(member.status(), Status::Healthy);
}

#[tokio::test]
async fn members_come_and_go_and_each_change_is_counted() {
    let temporary = tempfile::tempdir().unwrap();
    let (one, _) = member(&temporary, 1);
    let set = VolumeSet::new([one]);
    let before = set.changes();
    let snapshot = set.members();
    let (two, _) = member(&temporary, 2);
    set.insert(two);
    assert_eq!(set.changes(), before + 1);
    assert_eq!((snapshot.len(), set.members().len()), (1, 2));
    assert_eq!(set.get(VolumeSlot(2)).unwrap().name().as_ref(), "v2");
    assert!(set.remove(VolumeSlot(1)).is_some());
    assert!(set.get(VolumeSlot(1)).is_none());
    assert_eq!(set.changes(), before + 2);
}

#[tokio::test]
async fn a_set_starts_with_volumes_that_are_gone_and_the_prober_takes_them_back() {
    let temporary = tempfile::tempdir().unwrap();
    let ((one, _), (two, hangs)) = (member(&temporary, 1), member(&temporary, 2));
    let (path, away) = (temporary.path().join("v1"), temporary.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let set = VolumeSet::new([one, two]);
    set.check_all().await;
    let one = set.get(VolumeSlot(1)).unwrap();
    assert_eq!(one.status(), Status::Failed);
    assert_eq!(set.get(VolumeSlot(2)).unwrap().status(), Status::Healthy);
    assert!(set.get(VolumeSlot(2)).unwrap().usage().capacity > 0);
    std::fs::rename(&away, &path).unwrap();

    // The other volume's probe hangs all the while.
    let gate = Gate::default();
    hangs.always(Operation::Probe, Fault::Hang(gate.clone()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let prober = tokio::spawn(prober::run(set.clone(), Duration::from_millis(1), async { drop(stopped.await) }));
    while one.status() != Status::Healthy {
        tokio::task::yield_now().await;
    }
    assert_eq!(hangs.calls(Operation::Probe), 2, "one at start, and one that hangs");
    stop.send(()).unwrap();
    prober.await.unwrap();
}
