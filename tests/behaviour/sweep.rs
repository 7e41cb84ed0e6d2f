use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use ninefold::chunks::{Body, Digest, Owner};
use ninefold::layout::NewData;
use ninefold::maintenance::{Sweep, SweepConfig};

use crate::fixture::{Fixture, MIB, bytes, on_both};

struct NoDigest;

impl Digest for NoDigest {
    fn update(&mut self, _: &[u8]) {}
}

impl Fixture {
    /// Writes bytes as a put does that is cut before its commit.
    pub async fn write_and_crash(&self, len: usize) -> NewData {
        let body: Body = Box::pin(stream::iter([Ok(Bytes::from(bytes(len)))]));
        self.store().chunks().write(Owner::default(), body, NoDigest).await.unwrap().0
    }

    /// Has the instance end without its knowing.
    pub async fn close_in_sql(&self) {
        self.store().metadata().close_instance(self.instance.heartbeat().instance()).await.unwrap();
    }

    fn quarantined(&self) -> Vec<PathBuf> {
        let directories = (1..=9).map(|n| self.dir.path().join(format!("v{n}")).join("quarantine"));
        directories.flat_map(|d| std::fs::read_dir(d).unwrap().map(|f| f.unwrap().path())).collect()
    }

    async fn waiting(&self) -> usize {
        self.store().metadata().ranges_to_sweep(Duration::ZERO, 0, 100).await.unwrap().len()
    }
}

fn config() -> SweepConfig {
    SweepConfig { again: Duration::ZERO, ..SweepConfig::default() }
}

on_both! {
    async fn what_cut_writes_left_behind_is_swept_away_and_nothing_else(f: Fixture) {
        let sweep = Sweep::new(f.store().clone(), config());
        f.put("large", bytes(9 * MIB)).await;
        f.put("small", bytes(1000)).await;
        f.put("deleted", bytes(MIB)).await;
        f.s3.delete_object().bucket(crate::fixture::BUCKET).key("deleted").send().await.unwrap();
        let acknowledged = f.files().len();
        f.write_and_crash(9 * MIB).await;
        f.run(&sweep).await;
        assert_eq!(f.files().len(), acknowledged + 27, "the instance lives: it may still commit");

        f.close_in_sql().await;
        f.run(&sweep).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (acknowledged, 27));
        assert_eq!(f.waiting().await, 1, "it is swept once more");
        assert!(f.get("large").await == bytes(9 * MIB) && f.get("small").await == bytes(1000));
        f.run(&sweep).await;
        assert_eq!(f.waiting().await, 0);

        assert_eq!(f.quarantined().len(), 27);
        f.clock.advance(Duration::from_secs(20 * 365 * 24 * 3600));
        f.run(&sweep).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (acknowledged, 0));
    }

    async fn no_two_ranges_of_ids_share_a_nonce(f: Fixture) {
        // An older database may give the same numbers once more: the files of then are others.
        let first = f.write_and_crash(1000).await.chunks[0].id;
        let f = f.restart().await;
        let second = f.write_and_crash(1000).await.chunks[0].id;
        assert_ne!(first.nonce, second.nonce);
    }

    async fn a_volume_that_was_away_is_swept_when_it_is_back(f: Fixture) {
        let sweep = Sweep::new(f.store().clone(), SweepConfig { again: Duration::from_secs(3600), ..config() });
        f.write_and_crash(100_000).await;
        f.close_in_sql().await;
        f.take(9..=9).await;
        f.run(&sweep).await;
        f.run(&sweep).await;
        assert_eq!(f.waiting().await, 1);
        f.bring_back(9..=9).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (1, 8));
        f.run(&sweep).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (0, 9));
        let due = f.store().metadata().ranges_to_sweep(Duration::from_secs(3600), 0, 10).await.unwrap();
        assert!(due.is_empty(), "until it is swept again, in an hour");
    }

    async fn more_than_can_have_been_under_way_is_left_alone(f: Fixture) {
        for _ in 0..3 {
            f.write_and_crash(1000).await;
        }
        f.close_in_sql().await;
        f.run(&Sweep::new(f.store().clone(), SweepConfig { limit: 2, ..config() })).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (27, 0));
        let left = f.store().metadata().ranges_to_sweep(Duration::ZERO, 0, 10).await.unwrap().remove(0);
        assert!(left.alarm.is_some() && left.done.is_empty());
        f.run(&Sweep::new(f.store().clone(), SweepConfig { limit: 3, ..config() })).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (0, 27));
    }

    async fn a_file_that_its_chunk_was_not_placed_in_is_swept(f: Fixture) {
        f.put("k", bytes(100_000)).await;
        let resolved = f.store().metadata().resolve(crate::fixture::BUCKET, "k", None, ninefold::metadata::ReadRange::Whole).await;
        let placed = resolved.unwrap().extents.remove(0);
        let chunk = placed.extent.chunk;
        let of = |shard| placed.placement.file(chunk, shard).unwrap();
        // Shard 0 once more, where shard 1 is: as if it had found no place there at first. And what a healer is writing.
        let stray = of(0).1;
        let heal = ninefold::layout::ShardName { generation: 1, ..stray };
        let member = f.store().chunks().volumes().get(of(1).0).unwrap();
        for name in [stray, heal] {
            member.create(name, Bytes::from_static(b"left behind")).await.unwrap();
        }
        f.close_in_sql().await;
        f.run(&Sweep::new(f.store().clone(), config())).await;
        assert_eq!((f.files().len(), f.quarantined().len()), (10, 1));
        assert!(f.get("k").await == bytes(100_000));
    }
}
