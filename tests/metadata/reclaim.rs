use std::time::Duration;

use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    dead_chunks_wait_in_order_and_are_forgotten,
    the_dead_stay_while_any_instance_reads_what_is_older,
    files_on_absent_volumes_are_deleted_later,
    folding_is_bounded,
    only_the_dead_are_forgotten,
    shards_wait_for_healing_once,
    a_switch_compares_and_leaves_the_old_file_to_be_deleted,
    a_note_that_came_after_the_task_was_read_is_kept,
    the_dead_are_not_healed,
    volumes_keep_their_numbers,
    volumes_are_removed_only_when_nothing_is_on_them,
);

async fn dead_chunks_wait_in_order_and_are_forgotten(f: &Fixture) {
    let lease = f.lease("gc").await;
    let mut ids = Vec::new();
    for key in ["late", "early"] {
        let commit = f.commit(key, &[10]).await;
        ids.push(commit.data.chunks[0].id);
        f.delete(key).await;
        assert_eq!(f.meta.fold_released(&lease, 10).await.unwrap().chunks, 1);
        f.raw.execute("UPDATE chunks SET died_at = died_at - 60000").await;
        // The second is older than the first by this.
        f.raw
            .execute(&format!("UPDATE chunks SET died_at = died_at + {}", if key == "late" { 150_000 } else { 0 }))
            .await;
    }
    f.raw.execute("UPDATE chunks SET died_at = died_at - 100000").await;
    let dead = f.dead(10).await;
    assert_eq!(dead.iter().map(|chunk| chunk.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert_eq!(f.dead(1).await, dead[..1]);
    let since = |grace| f.meta.dead_chunks(&lease, LATE, Duration::from_secs(grace), 10);
    assert_eq!(since(100).await.unwrap(), dead[..1], "the other died less than 100 seconds ago");
    assert!(since(3600).await.unwrap().is_empty());
    assert_eq!(f.meta.placement(ids[0]).await.unwrap(), None);

    f.meta.forget_chunk(&lease, &dead[0], &[]).await.unwrap();
    f.meta.forget_chunk(&lease, &dead[0], &[]).await.unwrap();
    assert_eq!(f.dead(10).await, dead[1..]);
    assert_eq!(f.raw.int("SELECT COUNT(*) FROM pending_deletes").await, 0);
}

// Rule 16.
async fn the_dead_stay_while_any_instance_reads_what_is_older(f: &Fixture) {
    let other = f.meta.register_instance().await.unwrap();
    f.commit("key", &[10]).await;
    f.delete("key").await;
    let before = f.meta.now().await.unwrap();
    assert_eq!(f.fold_all().await.chunks, 1);
    let lease = f.lease("gc").await;
    let died = f.raw.int("SELECT died_at FROM chunks WHERE state = 'dead'").await;
    assert!(died >= before);
    let removable = |own| f.meta.dead_chunks(&lease, own, Duration::ZERO, 10);
    f.meta.heartbeat(other, died).await.unwrap();
    assert!(removable(LATE).await.unwrap().is_empty(), "a read of the other may have begun in that very millisecond");
    f.meta.heartbeat(other, died + 1).await.unwrap();
    assert_eq!(removable(LATE).await.unwrap().len(), 1);
    assert!(removable(died).await.unwrap().is_empty(), "so may one of our own");
    assert_eq!(removable(died + 1).await.unwrap().len(), 1);
    // Whoever does not live does not read; who has just begun reads nothing that is older.
    f.meta.heartbeat(other, 1).await.unwrap();
    assert!(removable(LATE).await.unwrap().is_empty());
    f.meta.close_instance(other).await.unwrap();
    assert_eq!(removable(LATE).await.unwrap().len(), 1);
    while f.meta.now().await.unwrap() <= died {}
    f.meta.register_instance().await.unwrap();
    assert_eq!(removable(LATE).await.unwrap().len(), 1);
}

async fn files_on_absent_volumes_are_deleted_later(f: &Fixture) {
    let mut commit = f.put("key", &[10]);
    commit.data.chunks[0].placement.0[7] = None;
    commit.data.chunks[0].missing.insert(7);
    f.meta.commit_put(&commit).await.unwrap();
    let chunk = commit.data.chunks[0].id;
    f.delete("key").await;
    f.fold_all().await;
    let dead = f.dead(10).await;
    assert_eq!(dead[0].missing, commit.data.chunks[0].missing);
    // Slots 3 and 8 carry shards 2 and 7; the latter never was there.
    let lease = f.lease("gc").await;
    f.meta.forget_chunk(&lease, &dead[0], &[VolumeSlot(3), VolumeSlot(8), VolumeSlot(50)]).await.unwrap();
    let file = ShardName { chunk, shard: 2, generation: 0 };
    assert_eq!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap(), [file]);
    assert!(f.meta.pending_deletes(VolumeSlot(8), 10).await.unwrap().is_empty());
    f.meta.deleted(VolumeSlot(4), &[file]).await.unwrap();
    f.meta
        .deleted(VolumeSlot(3), &[ShardName { generation: 1, ..file }, ShardName { shard: 3, ..file }])
        .await
        .unwrap();
    assert_eq!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap(), [file]);
    f.meta.deleted(VolumeSlot(3), &[file]).await.unwrap();
    f.meta.deleted(VolumeSlot(3), &[]).await.unwrap();
    assert!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap().is_empty());
}

async fn folding_is_bounded(f: &Fixture) {
    for i in 0..7 {
        f.commit("key", &[10 + i]).await;
    }
    let lease = f.lease("gc").await;
    let mut rows = Vec::new();
    for _ in 0..4 {
        rows.push(f.meta.fold_released(&lease, 2).await.unwrap().rows);
        f.check().await;
    }
    assert_eq!(rows, [2, 2, 2, 0]);
    // Two references to one data, folded together and one by one.
    f.meta.commit_copy(&f.copy("key", "copy").await).await.unwrap();
    f.meta.commit_copy(&f.copy("key", "third").await).await.unwrap();
    for key in ["key", "copy"] {
        f.delete(key).await;
    }
    assert_eq!(f.meta.fold_released(&lease, 10).await.unwrap(), Folded { rows: 2, data: 0, chunks: 0 });
    f.delete("third").await;
    assert_eq!(f.meta.fold_released(&lease, 10).await.unwrap(), Folded { rows: 1, data: 1, chunks: 1 });
}

async fn only_the_dead_are_forgotten(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let NewChunk { id, placement, missing, .. } = commit.data.chunks[0];
    let lease = f.lease("gc").await;
    let chunk = DeadChunk { id, placement, missing };
    assert!(matches!(f.meta.forget_chunk(&lease, &chunk, &[]).await, Err(Error::Corrupt(_))));
    f.delete("key").await;
    f.fold_all().await;
    // Files were removed where the chunk is not: those that are there would be left.
    let elsewhere = DeadChunk { placement: Placement::default(), ..chunk.clone() };
    assert!(matches!(f.meta.forget_chunk(&lease, &elsewhere, &[]).await, Err(Error::Corrupt(_))));
    f.meta.forget_chunk(&lease, &chunk, &[]).await.unwrap();
}

async fn shards_wait_for_healing_once(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let chunk = commit.data.chunks[0].id;
    f.meta.queue_heal(chunk, 5, "bad block", NOW + 5).await.unwrap();
    f.meta.queue_heal(chunk, 5, &"x".repeat(5000), NOW + 6).await.unwrap();
    f.meta.queue_heal(chunk, 1, "absent", NOW).await.unwrap();
    f.meta.queue_heal(chunk, 9, "no such shard", NOW).await.unwrap();
    f.meta.queue_heal(f.chunk_id(), 1, "no such chunk", NOW).await.unwrap();
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 2);
    let tasks = f.meta.heal_tasks(10).await.unwrap();
    let seen: Vec<_> = tasks.iter().map(|task| (task.shard, task.queued, task.noted)).collect();
    assert_eq!(seen, [(1, NOW, 1), (5, NOW + 5, 2)]);
    assert_eq!(f.meta.heal_tasks(1).await.unwrap(), tasks[..1]);
    // Dead, it needs no healing, and could not be forgotten with a task left.
    f.delete("key").await;
    f.fold_all().await;
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
}

// Rule 12.
async fn a_switch_compares_and_leaves_the_old_file_to_be_deleted(f: &Fixture) {
    let mut commit = f.put("key", &[10]);
    commit.data.chunks[0].placement.0[8] = None;
    commit.data.chunks[0].missing.insert(8);
    commit.data.chunks[0].missing.insert(2);
    f.meta.commit_put(&commit).await.unwrap();
    let NewChunk { id, placement, .. } = commit.data.chunks[0];
    let slot = |volume, generation| Slot { volume: VolumeSlot(volume), generation };

    for wrong in [None, Some(slot(3, 1)), Some(slot(4, 0))] {
        assert!(!f.meta.switch_slot(id, 2, wrong, slot(30, 1)).await.unwrap());
    }
    assert_eq!(f.meta.placement(id).await.unwrap(), Some(placement));
    assert!(f.meta.switch_slot(id, 2, Some(slot(3, 0)), slot(3, 1)).await.unwrap());
    assert!(!f.meta.switch_slot(id, 2, Some(slot(3, 0)), slot(3, 2)).await.unwrap());
    assert!(f.meta.switch_slot(id, 8, None, slot(40, 1)).await.unwrap());
    assert!(!f.meta.switch_slot(id, 9, None, slot(40, 1)).await.unwrap());
    assert!(!f.meta.switch_slot(f.chunk_id(), 1, None, slot(40, 1)).await.unwrap());

    let placed = f.resolve("key").await.unwrap().extents[0];
    assert!(placed.missing.is_empty());
    assert_eq!((placed.placement.0[2], placed.placement.0[8]), (Some(slot(3, 1)), Some(slot(40, 1))));
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
    let old = ShardName { chunk: id, shard: 2, generation: 0 };
    assert_eq!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap(), [old]);
}

async fn a_note_that_came_after_the_task_was_read_is_kept(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let chunk = commit.data.chunks[0].id;
    f.meta.queue_heal(chunk, 5, "late", NOW).await.unwrap();
    let task = f.meta.heal_tasks(1).await.unwrap().remove(0);
    f.meta.queue_heal(chunk, 5, "bad", NOW).await.unwrap();
    f.meta.heal_done(&task).await.unwrap();
    let again = f.meta.heal_tasks(1).await.unwrap().remove(0);
    assert_eq!(again.reason, "bad");
    f.meta.heal_done(&again).await.unwrap();
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
}

async fn the_dead_are_not_healed(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let NewChunk { id, placement, .. } = commit.data.chunks[0];
    f.delete("key").await;
    f.fold_all().await;
    f.meta.queue_heal(id, 1, "absent", NOW).await.unwrap();
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
    let to = Slot { volume: VolumeSlot(30), generation: 1 };
    assert!(!f.meta.switch_slot(id, 1, placement.0[1], to).await.unwrap());
}

fn spec(id: &str, path: &str) -> VolumeSpec {
    VolumeSpec {
        id: id.into(),
        path: path.into(),
        node: "node-1".into(),
        zone: "zone-1".into(),
        region: "region-1".into(),
        weight: 1.0,
        capacity: None,
    }
}

async fn volumes_keep_their_numbers(f: &Fixture) {
    let registered = f.meta.register_volumes(&[spec("b", "/b"), spec("a", "/a")]).await.unwrap();
    let numbers: Vec<_> = registered.iter().map(|row| (row.slot.0, row.spec.id.as_str(), row.draining)).collect();
    assert_eq!(numbers, [(1, "b", false), (2, "a", false)]);
    f.meta.set_draining(VolumeSlot(2), true).await.unwrap();
    assert!(matches!(f.meta.set_draining(VolumeSlot(9), true).await, Err(Error::VolumeMismatch { .. })));
    // Moved, grown and heavier; the other two change places; its operator's wish stays.
    let moved = VolumeSpec {
        node: "node-2".into(),
        zone: "zone-2".into(),
        region: "region-2".into(),
        weight: 2.5,
        capacity: Some(1 << 40),
        ..spec("a", "/elsewhere")
    };
    let registered = f.meta.register_volumes(&[moved.clone(), spec("c", "/a")]).await.unwrap();
    assert_eq!(registered[1], VolumeRow { slot: VolumeSlot(2), spec: moved, draining: true, formatted: false });
    assert_eq!((registered[2].slot, registered.len()), (VolumeSlot(3), 3));
    let registered = f.meta.register_volumes(&[spec("b", "/a"), spec("c", "/b")]).await.unwrap();
    assert_eq!(f.meta.volumes().await.unwrap(), registered);

    for bad in [
        vec![spec("d", "/d"), spec("d", "/e")],
        vec![spec("d", "/a")],
        vec![VolumeSpec { weight: 0.0, ..spec("d", "/d") }],
        vec![VolumeSpec { weight: f64::NAN, ..spec("d", "/d") }],
    ] {
        let result = f.meta.register_volumes(&bad).await;
        assert!(matches!(result, Err(Error::VolumeMismatch { ref id, .. }) if id == "d"), "{result:?}");
    }
    assert_eq!(f.meta.volumes().await.unwrap(), registered);
    // Registered by several gateways at once, each gets one number.
    let many =
        all((0..6).map(|i| {
            let meta = f.meta.clone();
            async move {
                meta.register_volumes(&[spec("x", "/x"), spec(&format!("y{i}"), &format!("/y{i}"))]).await.unwrap()
            }
        }))
        .await;
    assert_eq!(f.meta.volumes().await.unwrap().len(), 3 + 1 + 6);
    assert_eq!(many.len(), 6);
}

async fn volumes_are_removed_only_when_nothing_is_on_them(f: &Fixture) {
    let specs: Vec<_> = (1..=19).map(|i| spec(&format!("v{i}"), &format!("/v{i}"))).collect();
    f.meta.register_volumes(&specs).await.unwrap();
    f.commit("key", &[10]).await;
    assert!(matches!(f.meta.remove_volume("v9").await, Err(Error::VolumeInUse(_))));
    // Not taken for the 1 or the 9 of another.
    f.meta.remove_volume("v19").await.unwrap();
    f.meta.remove_volume("v10").await.unwrap();
    assert!(matches!(f.meta.remove_volume("v10").await, Err(Error::VolumeMismatch { .. })));
    assert_eq!(f.meta.volumes().await.unwrap().len(), 17);
    // The number is not given again, for chunks and files of it may still be somewhere.
    let registered = f.meta.register_volumes(&[spec("v20", "/v20")]).await.unwrap();
    assert_eq!(registered.last().unwrap().slot, VolumeSlot(20));
    f.delete("key").await;
    f.fold_all().await;
    assert!(matches!(f.meta.remove_volume("v9").await, Err(Error::VolumeInUse(_))));
    let dead = f.dead(1).await;
    f.meta.forget_chunk(&f.lease("gc").await, &dead[0], &[VolumeSlot(9)]).await.unwrap();
    f.meta.remove_volume("v9").await.unwrap();
    assert!(f.meta.pending_deletes(VolumeSlot(9), 10).await.unwrap().is_empty());
}
