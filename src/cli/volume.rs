//! `ninefold volume`: what is done to volumes while servers run.

use serde_json::json;

use super::operate::{Common, OperateError, Operator, on_store, say};
use super::status;
use crate::config::volumes::{VolumeEntry, specs};
use crate::maintenance::{HEAL, REBALANCE, make, orders, refill_job};
use crate::volumes::LocalVolume;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show all volumes: status, space, shards
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Add volumes; running servers take them into use. Then `rebalance` moves their share to them
    Add {
        /// PATH, or path=...,id=...,node=...,zone=...,region=...,weight=...,capacity=...; {1...9} counts
        #[arg(value_name = "VOLUME", required = true)]
        volumes: Vec<VolumeEntry>,
        #[command(flatten)]
        common: Common,
    },
    /// Move every shard of a volume to others; it takes no new ones from now on
    Drain {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        wait: Wait,
    },
    /// Call a drain off
    Undrain {
        #[command(flatten)]
        one: One,
    },
    /// Forget a volume that was drained
    Remove {
        #[command(flatten)]
        one: One,
    },
    /// Take an empty disk into use in place of a lost one, and refill it from the other volumes
    Replace {
        /// Where the empty disk is [default: where the lost one was]
        #[arg(long, value_name = "DIR")]
        path: Option<String>,
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move shards to where they should be, by the volumes that there are now
    Rebalance {
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    /// Name of the volume
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Wait {
    /// Leave the work to the running servers, and do not wait for it
    #[arg(long)]
    detach: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), OperateError> {
    match arguments.action {
        Action::List { common } => on_store(common, async move |store| status::volumes(&store).await),
        Action::Add { volumes, common } => on_store(common, async move |store| add(&store, &volumes).await),
        Action::Drain { one, wait } => on_store(one.common, async move |store| {
            let job = orders::drain(&store.metadata, &one.id).await?;
            follow(&store, &job, &wait).await
        }),
        Action::Undrain { one } => on_store(one.common, async move |store| {
            orders::undrain(&store.metadata, &one.id).await?;
            store.tell(&json!({"volume": one.id, "draining": false}), || ())
        }),
        Action::Remove { one } => on_store(one.common, async move |store| {
            let row = orders::remove(&store.metadata, &one.id).await?;
            let line = format!("volume {} was forgotten; its directory {} is left as it is", one.id, row.spec.path);
            store.print(format_args!("{line}"), &json!({"removed": one.id, "path": row.spec.path}))
        }),
        Action::Replace { path, one, wait } => {
            on_store(one.common, async move |store| replace(&store, &one.id, path.as_deref(), &wait).await)
        }
        Action::Rebalance { wait, common } => on_store(common, async move |store| job(&store, REBALANCE, &wait).await),
    }
}

/// Asks for a job and waits for it, if that is wanted.
async fn job(store: &Operator, name: &str, wait: &Wait) -> Result<(), OperateError> {
    orders::start(&store.metadata, name).await?;
    follow(store, name, wait).await
}

/// Waits for a job that was asked for, if that is wanted.
async fn follow(store: &Operator, name: &str, wait: &Wait) -> Result<(), OperateError> {
    if wait.detach { store.announce(name).await } else { store.watch(name).await }
}

async fn add(store: &Operator, volumes: &[VolumeEntry]) -> Result<(), OperateError> {
    let deployment = deployment(store).await?;
    let mut added = Vec::new();
    for spec in specs(volumes, &store.config.region)? {
        // One whose directory could not be made the last time is gone on with.
        let known = store.metadata.volumes().await?.into_iter().find(|row| row.spec == spec && !row.formatted);
        let row = match known {
            Some(row) => row,
            None => store.metadata.add_volume(&spec).await?,
        };
        make(&row, &deployment).await?;
        store.metadata.set_formatted(row.slot).await?;
        added.push(spec);
    }
    let shown: Vec<_> = added.iter().map(|spec| json!({"id": spec.id, "path": spec.path})).collect();
    store.tell(&shown, || {
        for spec in &added {
            say(format_args!("volume {} at {} was added; `ninefold volume rebalance` fills it", spec.id, spec.path));
        }
    })
}

async fn replace(store: &Operator, id: &str, path: Option<&str>, wait: &Wait) -> Result<(), OperateError> {
    let row = orders::volume(&store.metadata, id).await?;
    let deployment = deployment(store).await?;
    let path = match path {
        Some(path) => {
            let path = std::path::absolute(path)
                .map_err(|source| OperateError::System { operation: "find the directory", source })?;
            Some(path.to_string_lossy().into_owned())
        }
        None => None,
    };
    let place = path.clone().unwrap_or_else(|| row.spec.path.clone());
    let found = tokio::task::spawn_blocking(move || LocalVolume::identify(place.as_ref()).ok().flatten()).await;
    // A disk that was made this volume's next one by a command that then was cut short is an empty one.
    if let Some(found) = found.ok().flatten()
        && (found.deployment != deployment || found.slot != row.slot || found.epoch != row.epoch + 1)
    {
        let reason = "the directory holds a volume; only an empty disk takes the place of a lost one. To take a working \
                      one out of use, drain it";
        return Err(OperateError::Refused { volume: id.to_owned(), reason: reason.into() });
    }
    // One that waits for its disk already, because an earlier try could not make it, needs no further one.
    let row =
        if row.formatted || path.is_some() { store.metadata.replace_volume(id, path.as_deref()).await? } else { row };
    make(&row, &deployment).await?;
    store.metadata.set_formatted(row.slot).await?;
    store.remark(format_args!("volume {id} has an empty disk at {}", row.spec.path));
    let refill = refill_job(id);
    if wait.detach {
        return store.announce(&refill).await;
    }
    store.watch_first(&refill).await?;
    job(store, HEAL, wait).await
}

/// The deployment's id; there is one, or there would be no store.
async fn deployment(store: &Operator) -> Result<String, OperateError> {
    Ok(store.metadata.deployment(&hex::encode(crate::clock::random_bytes::<16>())).await?)
}
