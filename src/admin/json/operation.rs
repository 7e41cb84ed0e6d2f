//! The operator's: status, volumes, jobs and snapshots. Volumes are added and replaced by command, on the machine that their disks are on.

use http::StatusCode;

use super::page::Page;
use super::{Begun, Desk, Done, Shown, order};
use crate::admin::view::{Job, Snapshot, Status, Usage, Volume};
use crate::admin::{Problem, Result};
use crate::maintenance::{HEAL, REBALANCE, SCRUB, orders};
use crate::snapshots::SNAPSHOT;

/// What all of it is about, but for volumes and jobs.
const DEPLOYMENT: &str = "arn:aws:ninefold:::deployment";

fn volume_arn(id: &str) -> String {
    format!("arn:aws:ninefold:::volume/{id}")
}

fn job_arn(name: &str) -> String {
    format!("arn:aws:ninefold:::job/{name}")
}

impl Desk<'_> {
    pub(super) async fn status(&self) -> Result<Shown<Status>> {
        self.may(DEPLOYMENT)?;
        Ok(Shown(Status::read(self.metadata()?).await?))
    }

    pub(super) async fn usage(&self) -> Result<Shown<Usage>> {
        self.may(DEPLOYMENT)?;
        let unknown = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "it is not counted yet");
        Ok(Shown(self.request.counts.usage().await.ok_or_else(unknown)?))
    }

    pub(super) async fn list_snapshots(&self) -> Result<Shown<Page<Snapshot>>> {
        self.may(DEPLOYMENT)?;
        let rows = self.metadata()?.snapshots().await?;
        Ok(Shown(self.page(&rows, |row| &row.id, Snapshot::from)?))
    }

    pub(super) async fn list_volumes(&self) -> Result<Shown<Page<Volume>>> {
        self.may(&volume_arn(""))?;
        let volumes = Volume::all(self.metadata()?).await?;
        Ok(Shown(self.page(volumes, |volume| &volume.id, |volume| volume)?))
    }

    pub(super) async fn get_volume(&self) -> Result<Shown<Volume>> {
        let id = self.name("volume");
        self.may(&volume_arn(id))?;
        let found = Volume::all(self.metadata()?).await?.into_iter().find(|volume| volume.id == id);
        found.map(Shown).ok_or_else(|| order(orders::OrderError::NoSuchVolume(id.to_owned())))
    }

    pub(super) async fn drain_volume(&self) -> Result<Begun<Job>> {
        let id = self.name("volume");
        self.may(&volume_arn(id))?;
        let job = orders::drain(self.metadata()?, id).await.map_err(order)?;
        Ok(Begun(self.job(&job).await?))
    }

    pub(super) async fn undrain_volume(&self) -> Result<Done> {
        let id = self.name("volume");
        self.may(&volume_arn(id))?;
        orders::undrain(self.metadata()?, id).await.map_err(order)?;
        Ok(Done)
    }

    pub(super) async fn remove_volume(&self) -> Result<Done> {
        let id = self.name("volume");
        self.may(&volume_arn(id))?;
        orders::remove(self.metadata()?, id).await.map_err(order)?;
        Ok(Done)
    }

    async fn job(&self, name: &str) -> Result<Job> {
        let row = self.metadata()?.job(name).await?;
        let none = || Problem::missing("NoSuchJob", format!("the job {name} was never asked for"));
        row.as_ref().map(Job::from).ok_or_else(none)
    }

    pub(super) async fn list_jobs(&self) -> Result<Shown<Page<Job>>> {
        self.may(&job_arn(""))?;
        let jobs = self.metadata()?.jobs().await?;
        Ok(Shown(self.page(&jobs, |job| &job.name, Job::from)?))
    }

    pub(super) async fn get_job(&self) -> Result<Shown<Job>> {
        let name = self.name("job");
        self.may(&job_arn(name))?;
        Ok(Shown(self.job(name).await?))
    }

    pub(super) async fn start_job(&self) -> Result<Begun<Job>> {
        let name = self.name("job");
        self.may(&job_arn(name))?;
        if ![HEAL, SCRUB, REBALANCE, SNAPSHOT].contains(&name) {
            let message =
                format!("{name} is no job that can be asked for: {HEAL}, {SCRUB}, {REBALANCE} and {SNAPSHOT} are");
            return Err(Problem::missing("NoSuchJob", message));
        }
        orders::start(self.metadata()?, name).await.map_err(order)?;
        Ok(Begun(self.job(name).await?))
    }
}
