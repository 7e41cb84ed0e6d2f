//! Rebalancing after a volume was added, while it or others fail or are full.

use std::collections::BTreeSet;
use std::time::Duration;

use ninefold::maintenance::{REBALANCE, make};
use ninefold::metadata::JobState;
use ninefold::volumes::fault::{Fault, Gate, Operation};

use crate::faults::{Effect, LARGE, Rig, kinds};
use crate::fixture::{Fixture, on_both, spec};

/// A rig with objects, and a tenth volume that nothing is on.
async fn with_one_added(f: Fixture) -> Rig {
    let mut rig = Rig::new(f).await;
    rig.put_objects().await;
    let f = &rig.f;
    let added = f.store().metadata().add_volume(&spec(f.dir.path(), 10)).await.unwrap();
    make(&added, f.instance.deployment()).await.unwrap();
    f.store().metadata().set_formatted(added.slot).await.unwrap();
    f.instance.roster().refresh().await.unwrap();
    rig.faults.push(f.wrap(&added, Some(Duration::from_secs(1))));
    rig.f.probe().await;
    rig
}

impl Fixture {
    async fn rebalance(&self) -> JobState {
        self.store().metadata().request_job(REBALANCE).await.unwrap();
        self.relocate().await;
        self.job(REBALANCE).await
    }
}

on_both! {
    async fn a_rebalance_is_done_once_an_added_volume_has_its_share(f: Fixture) {
        let rig = with_one_added(f).await;
        let f = &rig.f;
        for kind in kinds().iter().filter(|kind| matches!(kind.writes, Effect::Error | Effect::Silent)) {
            let gate = Gate::default();
            rig.fail(kind, &[9], &gate).await;
            assert_eq!(f.rebalance().await, JobState::Failed, "{}: nothing can be put there", kind.name);
            assert_eq!(f.shards_on(9).await, BTreeSet::new(), "{}", kind.name);
            rig.get_objects(kind.name).await;
            rig.do_well(&gate).await;
            f.assert_well().await;
        }
        // That others fail keeps nothing from being put there, and does not drive away what they have.
        rig.faults[4].vanish(true);
        f.probe().await;
        assert_eq!(f.rebalance().await, JobState::Done);
        assert!(!f.shards_on(9).await.is_empty() && !f.shards_on(4).await.is_empty());
        rig.do_well(&Gate::default()).await;
        rig.get_objects("in the end").await;
        rig.assert_tidy("in the end").await;
    }

    async fn an_added_volume_is_filled_from_full_ones(f: Fixture) {
        let rig = with_one_added(f).await;
        let f = &rig.f;
        rig.faults[..9].iter().for_each(|faults| faults.always(Operation::Create, Fault::Full));
        assert!(!rig.try_put("full", "too-much", LARGE).await);
        let members = f.store().chunks().volumes().members();
        assert_eq!(members.values().filter(|member| member.is_full()).count(), 9);
        assert_eq!(f.rebalance().await, JobState::Done);
        assert!(!f.shards_on(9).await.is_empty(), "that is what it was added for");
        rig.do_well(&Gate::default()).await;
        rig.get_objects("in the end").await;
        rig.assert_tidy("in the end").await;
    }
}
