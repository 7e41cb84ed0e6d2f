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
    a_file_that_is_due_for_removal_never_becomes_a_shard,
    what_could_not_be_healed_waits_longer,
    a_note_that_came_after_the_task_was_read_is_kept,
    volumes_are_added_and_replaced_by_command,
    files_that_nobody_knows_are_told,
    jobs_go_on_where_they_stopped,
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
    let since = |grace| f.meta.dead_chunks(&lease, LATE, Duration::from_secs(grace), false, 10);
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
    let removable = |own| f.meta.dead_chunks(&lease, own, Duration::ZERO, false, 10);
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
    let tasks = f.meta.heal_tasks(NOW, 10).await.unwrap();
    let seen: Vec<_> = tasks.iter().map(|task| (task.shard, task.queued, task.noted)).collect();
    assert_eq!(seen, [(1, NOW, 1), (5, NOW + 5, 2)]);
    assert_eq!(f.meta.heal_tasks(NOW, 1).await.unwrap(), tasks[..1]);
    // Dead, it needs no healing, and could not be forgotten with a task left.
    f.delete("key").await;
    f.fold_all().await;
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
}

const PATIENCE: Duration = Duration::from_secs(600);

// Rule 12.
async fn a_switch_compares_and_leaves_the_old_file_to_be_deleted(f: &Fixture) {
    let mut commit = f.put("key", &[10]);
    commit.data.chunks[0].placement.0[8] = None;
    commit.data.chunks[0].missing.insert(8);
    commit.data.chunks[0].missing.insert(2);
    f.meta.commit_put(&commit).await.unwrap();
    let NewChunk { id, placement, .. } = commit.data.chunks[0];
    let slot = |volume, generation| Slot { volume: VolumeSlot(volume), generation };
    let announce = |shard, from, volume| f.meta.announce_shard(id, shard, from, VolumeSlot(volume), PATIENCE);
    let switch = |shard, from, to| f.meta.switch_slot(id, shard, from, to, Duration::ZERO);

    for wrong in [None, Some(slot(3, 1)), Some(slot(4, 0))] {
        assert_eq!(announce(2, wrong, 30).await.unwrap(), None);
        assert!(!switch(2, wrong, slot(30, 1)).await.unwrap());
    }
    assert!(!switch(2, Some(slot(3, 0)), slot(3, 1)).await.unwrap(), "it was not announced");
    assert_eq!(announce(2, Some(slot(3, 0)), 3).await.unwrap(), Some(slot(3, 1)));
    // Another try, perhaps of another healer: its file is another one.
    assert_eq!(announce(2, Some(slot(3, 0)), 3).await.unwrap(), Some(slot(3, 2)));
    assert!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap().is_empty(), "both are being written");
    assert!(switch(2, Some(slot(3, 0)), slot(3, 1)).await.unwrap());
    assert!(!switch(2, Some(slot(3, 0)), slot(3, 2)).await.unwrap());
    assert_eq!(announce(8, None, 40).await.unwrap(), Some(slot(40, 1)));
    assert!(switch(8, None, slot(40, 1)).await.unwrap());
    assert!(!switch(9, None, slot(40, 1)).await.unwrap());
    assert!(!f.meta.switch_slot(f.chunk_id(), 1, None, slot(40, 1), Duration::ZERO).await.unwrap());

    let placed = f.resolve("key").await.unwrap().extents[0];
    assert!(placed.missing.is_empty());
    assert_eq!((placed.placement.0[2], placed.placement.0[8]), (Some(slot(3, 1)), Some(slot(40, 1))));
    assert_ne!(placed.placement, placement);
    assert_eq!(f.meta.heal_queue_len().await.unwrap(), 0);
    let old = ShardName { chunk: id, shard: 2, generation: 0 };
    assert_eq!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap(), [old]);
    f.meta.withdraw_shard(VolumeSlot(3), ShardName { generation: 2, ..old }).await.unwrap();
    assert_eq!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap(), [old, ShardName { generation: 2, ..old }]);
}

async fn a_file_that_is_due_for_removal_never_becomes_a_shard(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let NewChunk { id, placement, .. } = commit.data.chunks[0];
    let from = placement.0[2];
    let to = f.meta.announce_shard(id, 2, from, VolumeSlot(30), Duration::ZERO).await.unwrap().unwrap();
    assert!(!f.meta.switch_slot(id, 2, from, to, Duration::ZERO).await.unwrap());
    let file = ShardName { chunk: id, shard: 2, generation: to.generation };
    assert_eq!(f.meta.pending_deletes(VolumeSlot(30), 10).await.unwrap(), [file]);
    assert_eq!(f.meta.placement(id).await.unwrap(), Some(placement));
    // The old file's grace.
    let to = f.meta.announce_shard(id, 2, from, VolumeSlot(30), PATIENCE).await.unwrap().unwrap();
    assert_eq!(to.generation, 2);
    assert!(f.meta.switch_slot(id, 2, from, to, PATIENCE).await.unwrap());
    assert!(f.meta.pending_deletes(VolumeSlot(3), 10).await.unwrap().is_empty());
}

async fn what_could_not_be_healed_waits_longer(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let chunk = commit.data.chunks[0].id;
    f.meta.queue_heals(&[(chunk, 1), (chunk, 2), (chunk, 1)], "bad", NOW).await.unwrap();
    let tasks = f.meta.heal_tasks_of(chunk).await.unwrap();
    assert_eq!(tasks.iter().map(|task| (task.shard, task.noted)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    f.meta.heal_later(&tasks[0], Some("no volume"), NOW + 10).await.unwrap();
    f.meta.heal_later(&tasks[1], None, NOW + 5).await.unwrap();
    assert_eq!(f.meta.heal_queue_failed().await.unwrap(), 1);
    assert!(f.meta.heal_tasks(NOW + 4, 10).await.unwrap().is_empty());
    assert_eq!(f.meta.heal_tasks(NOW + 5, 10).await.unwrap()[0].shard, 2);
    let failed = f.meta.heal_tasks(NOW + 10, 10).await.unwrap().into_iter().find(|task| task.shard == 1).unwrap();
    assert_eq!((failed.attempts, failed.reason.as_str()), (1, "no volume"));
    f.meta.heal_all_due().await.unwrap();
    assert_eq!(f.meta.heal_tasks(NOW, 10).await.unwrap().len(), 1);
    assert_eq!(f.meta.heal_queue_failed().await.unwrap(), 0);
}

async fn a_note_that_came_after_the_task_was_read_is_kept(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let chunk = commit.data.chunks[0].id;
    f.meta.queue_heal(chunk, 5, "late", NOW).await.unwrap();
    let task = f.meta.heal_tasks(NOW, 1).await.unwrap().remove(0);
    f.meta.queue_heal(chunk, 5, "bad", NOW).await.unwrap();
    f.meta.heal_done(&task).await.unwrap();
    let again = f.meta.heal_tasks(NOW, 1).await.unwrap().remove(0);
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
    assert_eq!(f.meta.announce_shard(id, 1, placement.0[1], to.volume, PATIENCE).await.unwrap(), None);
    assert!(!f.meta.switch_slot(id, 1, placement.0[1], to, PATIENCE).await.unwrap());
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
    assert_eq!(
        registered[1],
        VolumeRow { slot: VolumeSlot(2), spec: moved, draining: true, formatted: false, epoch: 0, by_command: false }
    );
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
    assert!(matches!(f.meta.remove_volume("v9").await, Err(Error::VolumeHoldsDead(_))));
    let dead = f.dead(1).await;
    f.meta.forget_chunk(&f.lease("gc").await, &dead[0], &[VolumeSlot(9)]).await.unwrap();
    f.meta.remove_volume("v9").await.unwrap();
    assert!(f.meta.pending_deletes(VolumeSlot(9), 10).await.unwrap().is_empty());
}

async fn volumes_are_added_and_replaced_by_command(f: &Fixture) {
    f.meta.register_volumes(&[spec("a", "/a")]).await.unwrap();
    let added = f.meta.add_volume(&spec("b", "/b")).await.unwrap();
    assert_eq!((added.slot, added.by_command, added.formatted, added.epoch), (VolumeSlot(2), true, false, 0));
    for bad in [spec("a", "/x"), spec("b", "/x"), spec("c", "/a"), VolumeSpec { weight: -1.0, ..spec("c", "/c") }] {
        assert!(matches!(f.meta.add_volume(&bad).await, Err(Error::VolumeMismatch { .. })));
    }
    assert_eq!(f.meta.volumes().await.unwrap().len(), 2);
    for slot in [1, 2] {
        f.meta.set_formatted(VolumeSlot(slot)).await.unwrap();
    }
    let replaced = f.meta.replace_volume("a", None).await.unwrap();
    assert_eq!((replaced.epoch, replaced.formatted, replaced.by_command), (1, false, false));
    let replaced = f.meta.replace_volume("a", Some("/new")).await.unwrap();
    assert_eq!((replaced.epoch, replaced.spec.path.as_str(), replaced.by_command), (2, "/new", true));
    assert_eq!(f.meta.job("refill:a").await.unwrap().unwrap().state, JobState::Waiting);
    assert!(matches!(f.meta.replace_volume("a", Some("/b")).await, Err(Error::VolumeMismatch { .. })));
    assert!(matches!(f.meta.replace_volume("x", None).await, Err(Error::VolumeMismatch { .. })));
    // A list of volumes from before has no say in where it is now.
    let registered = f.meta.register_volumes(&[spec("a", "/a"), spec("b", "/elsewhere")]).await.unwrap();
    let paths: Vec<_> = registered.iter().map(|row| row.spec.path.as_str()).collect();
    assert_eq!(paths, ["/new", "/b"]);
    // Nor does it bring back what a command took away; another command does.
    f.meta.dismiss_volume("a").await.unwrap();
    let registered = f.meta.register_volumes(&[spec("a", "/a"), spec("b", "/b"), spec("c", "/c")]).await.unwrap();
    let names: Vec<_> = registered.iter().map(|row| (row.slot.0, row.spec.id.as_str())).collect();
    assert_eq!(names, [(2, "b"), (3, "c")]);
    f.meta.remove_volume("c").await.unwrap();
    assert_eq!(f.meta.register_volumes(&[spec("c", "/c")]).await.unwrap().len(), 2);
    assert_eq!(f.meta.add_volume(&spec("a", "/a")).await.unwrap().slot, VolumeSlot(5));
    assert_eq!(f.meta.register_volumes(&[spec("a", "/x")]).await.unwrap().len(), 3);

    let report = VolumeReport {
        slot: VolumeSlot(1),
        status: "failed".into(),
        full: true,
        used: 5,
        capacity: 10,
        error: Some("gone".into()),
    };
    f.meta.report_volumes(f.instance, std::slice::from_ref(&report)).await.unwrap();
    f.meta.report_volumes(f.instance, std::slice::from_ref(&report)).await.unwrap();
    assert_eq!(f.meta.volume_reports().await.unwrap(), [(f.instance, report.clone())]);
    assert_eq!(f.meta.instances().await.unwrap().len(), 1);
    f.meta.close_instance(f.instance).await.unwrap();
    f.meta.report_volumes(f.instance, &[report]).await.unwrap();
    assert!(f.meta.volume_reports().await.unwrap().is_empty(), "who lives no more has no say");
    assert!(f.meta.instances().await.unwrap().is_empty());
}

async fn files_that_nobody_knows_are_told(f: &Fixture) {
    let commit = f.commit("key", &[10]).await;
    let NewChunk { id, placement, .. } = commit.data.chunks[0];
    let (volume, shard) = placement.file(id, 3).unwrap();
    let being_written = ShardName { chunk: f.chunk_id(), ..shard };
    let from = placement.0[3];
    let to = f.meta.announce_shard(id, 3, from, volume, PATIENCE).await.unwrap().unwrap();
    let announced = ShardName { generation: to.generation, ..shard };
    let other = ShardName { generation: 9, ..shard };
    let foreign = ShardName { chunk: ChunkId { nonce: !id.nonce, ..id }, ..shard };
    let files = [shard, being_written, announced, other, foreign];
    // The chunk's own range is open still: its committed ids are of it, too.
    assert_eq!(f.meta.unknown_files(volume, &files).await.unwrap(), [foreign]);
    assert_eq!(f.meta.unknown_files(VolumeSlot(9), &[shard]).await.unwrap(), []);
    f.meta.close_instance(f.instance).await.unwrap();
    assert_eq!(f.meta.unknown_files(volume, &files).await.unwrap(), [being_written, other, foreign]);
    assert_eq!(f.meta.unknown_files(VolumeSlot(9), &[shard]).await.unwrap(), [shard]);
}

async fn jobs_go_on_where_they_stopped(f: &Fixture) {
    assert_eq!(f.meta.job("scrub").await.unwrap(), None);
    assert!(f.meta.request_job("scrub").await.unwrap());
    assert!(!f.meta.request_job("scrub").await.unwrap());
    let lease = f.lease("scrub").await;
    let progress = Progress { cursor: "here".into(), done: 2, bytes: 7, found: 1, message: "m".into() };
    // Not begun, it goes nowhere.
    f.meta.advance_job(&lease, "scrub", &progress).await.unwrap();
    assert_eq!(f.meta.job("scrub").await.unwrap().unwrap().done, 0);
    f.meta.start_job(&lease, "scrub", 10).await.unwrap();
    f.meta.advance_job(&lease, "scrub", &progress).await.unwrap();
    f.meta.advance_job(&lease, "scrub", &progress).await.unwrap();
    f.meta.start_job(&lease, "scrub", 99).await.unwrap();
    assert!(!f.meta.request_job("scrub").await.unwrap());
    let job = f.meta.job("scrub").await.unwrap().unwrap();
    assert_eq!((job.state, job.cursor.as_str(), job.message.as_str()), (JobState::Running, "here", "m"));
    assert_eq!((job.done, job.total, job.bytes, job.found), (4, 10, 14, 2));
    let stale = Lease { token: lease.token - 1, ..lease.clone() };
    for result in [
        f.meta.start_job(&stale, "scrub", 1).await,
        f.meta.advance_job(&stale, "scrub", &progress).await,
        f.meta.finish_job(&stale, "scrub", JobState::Done, "").await,
    ] {
        assert!(matches!(result, Err(Error::LeaseLost(_))), "{result:?}");
    }
    f.meta.finish_job(&lease, "scrub", JobState::Failed, "why").await.unwrap();
    assert_eq!(f.meta.jobs().await.unwrap()[0].message, "why");
    assert!(f.meta.request_job("scrub").await.unwrap());
    let job = f.meta.job("scrub").await.unwrap().unwrap();
    assert_eq!((job.state, job.cursor.as_str(), job.done, job.started), (JobState::Waiting, "", 0, None));
}
