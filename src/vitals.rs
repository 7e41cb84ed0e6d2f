//! How a running store is, for health and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::metadata::{self, BucketUsage};
use crate::objects::Store;
use crate::server::{ClusterState, Drive, Health, Readiness, Spare, Usage};
use crate::volumes::{Member, Status};

/// What buckets hold is counted again after this time at the earliest.
const COUNTED_FOR: Duration = Duration::from_secs(60);

/// And after so many times as long as counting took: it never takes more than a twentieth of anybody's time.
const REST: u32 = 20;

/// What can be found out of a store. Cheap to clone; clones share what was counted.
#[derive(Debug, Clone)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    server: String,
    instance_timeout: Duration,
    counted: watch::Sender<Option<Counted>>,
    counting: AtomicBool,
}

#[derive(Debug, Clone)]
struct Counted {
    at: Instant,
    took: Duration,
    /// `None` if it was tried and failed.
    buckets: Option<Arc<[BucketUsage]>>,
}

impl Vitals {
    /// Of a store behind the server at `server`, whose instances are taken for dead after `instance_timeout`.
    pub fn new(store: Store, server: String, instance_timeout: Duration) -> Self {
        let (counted, _) = watch::channel(None);
        Self(Arc::new(Inner { store, server, instance_timeout, counted, counting: AtomicBool::new(false) }))
    }

    fn members(&self) -> Arc<BTreeMap<crate::layout::VolumeSlot, Arc<Member>>> {
        self.0.store.chunks().volumes().members()
    }

    async fn state(&self) -> metadata::Result<ClusterState> {
        let db = self.0.store.metadata();
        let (buckets, heal_queue) = (db.bucket_count().await?, db.heal_queue_len().await?);
        let heal_failed = db.heal_queue_failed().await?;
        let (servers_online, servers_silent) = self.servers().await?;
        Ok(ClusterState { servers_online, servers_silent, buckets, heal_queue, heal_failed })
    }

    /// How many servers were heard of in time, and how many were not.
    async fn servers(&self) -> metadata::Result<(u64, u64)> {
        let timeout = i64::try_from(self.0.instance_timeout.as_millis()).unwrap_or(i64::MAX);
        let instances = self.0.store.metadata().instances().await?;
        let online = instances.iter().filter(|instance| instance.silent < timeout).count();
        Ok((online as u64, (instances.len() - online) as u64))
    }

    /// Begins to count, unless somebody does already or it is too early.
    fn count(&self) {
        let due = match &*self.0.counted.borrow() {
            Some(counted) => counted.at.elapsed() >= COUNTED_FOR.max(counted.took.saturating_mul(REST)),
            None => true,
        };
        if !due || self.0.counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let _counting = Begun(&this.0.counting);
            let started = Instant::now();
            let found = this.0.store.metadata().bucket_usage().await;
            if let Err(error) = &found {
                tracing::debug!(%error, "what buckets hold could not be counted");
            }
            let counted = Counted { at: Instant::now(), took: started.elapsed(), buckets: found.ok().map(Arc::from) };
            this.0.counted.send_replace(Some(counted));
        });
    }
}

/// Held while it is counted, also if that is cut short.
struct Begun<'a>(&'a AtomicBool);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[async_trait]
impl Health for Vitals {
    fn server(&self) -> &str {
        &self.0.server
    }

    async fn ready(&self) -> Readiness {
        let database = self.0.store.metadata().ping().await.is_ok();
        let members = self.members();
        let usable_volumes = members.values().filter(|member| member.takes_writes()).count();
        let readable_volumes = members.values().filter(|member| member.status() != Status::Failed).count();
        Readiness { database, usable_volumes, readable_volumes }
    }

    async fn without_a_node(&self) -> Spare {
        let servers = self.servers().await.map_or(0, |(online, _)| online);
        // Which node this server is part of is not known to it, so it may be any.
        let mut by_node: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members().values().filter(|member| member.takes_writes()) {
            *by_node.entry(Arc::clone(&member.location().node)).or_default() += 1;
        }
        let (all, most) = (by_node.values().sum::<usize>(), by_node.values().max().copied().unwrap_or(0));
        Spare { servers: usize::try_from(servers).unwrap_or(usize::MAX).saturating_sub(1), usable_volumes: all - most }
    }

    fn drives(&self) -> Vec<Drive> {
        let drive = |member: &Arc<Member>| {
            let usage = member.usage();
            Drive {
                name: member.name().to_string(),
                online: member.status() != Status::Failed,
                capacity: usage.capacity,
                used: usage.used,
                read_latency: member.read_latency(),
            }
        };
        self.members().values().map(drive).collect()
    }

    async fn cluster(&self) -> Option<ClusterState> {
        self.state().await.ok()
    }

    async fn usage(&self) -> Option<Usage> {
        self.count();
        // Only the first who ask wait for it.
        let mut counted = self.0.counted.subscribe();
        let counted = counted.wait_for(Option::is_some).await.ok()?.clone()?;
        Some(Usage { buckets: counted.buckets?, age: counted.at.elapsed() })
    }
}
