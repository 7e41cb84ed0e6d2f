//! Looks after the volumes in the background: what fails unnoticed is noticed, what comes back is taken back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::set::VolumeSet;

/// Time from one round of checks to the next.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Checks every member each `interval` until `shutdown` is ready: probes it, refreshes its space, closes descriptors that
/// have expired. A volume that hangs holds up nobody: it is checked again once its last check has ended.
pub async fn run(set: VolumeSet, interval: Duration, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Dropped, and with it what still runs, at the end.
    let mut checks = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = ticks.tick() => {
                for member in set.members().values() {
                    let member = Arc::clone(member);
                    // What a check finds is in the member's status, and logged when that changes.
                    checks.spawn(async move { drop(member.check().await) });
                }
            }
            Some(_) = checks.join_next() => {}
        }
    }
}
