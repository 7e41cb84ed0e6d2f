//! Instances, the chunk ids they reserve, and leases. All by the database's clock.

use std::time::Duration;

use super::dialect::{Tx, retrying, values};
use super::rows::int;
use super::{Answer, Error, IdRange, InstanceId, InstanceRow, Lease, Metadata, Result};
use crate::clock::Millis;
use crate::layout::ChunkId;

/// A judge waits for the locks of the one it judges for this part of the time-out: its own row is locked meanwhile, so that its
/// heartbeat waits, too.
const JUDGEMENT_SHARE: u32 = 16;

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

impl Metadata {
    /// Registers this start of this process. Instances are never resumed.
    pub fn register_instance(&self) -> Answer<'_, InstanceId> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let sql = "INSERT INTO instances (started_at, heartbeat_at, reads_since, state) \
                       VALUES ({now}, {now}, {now}, 'live') \
                       RETURNING instance_id";
                let result = tx.first(sql, &[]).await;
                let row = tx.end(result).await?;
                Ok(InstanceId(row.ok_or_else(|| Error::Corrupt("no instance was made".into()))?.int("instance_id")?))
            })
            .await
        })
    }

    /// Says that the instance lives, and that every read which it has under way, or will begin, began at or after `reads_since` by
    /// the database's clock; answers what that clock shows.
    ///
    /// # Errors
    /// [`Error::RangeClosed`] if it was judged dead, or has ended.
    pub fn heartbeat(&self, instance: InstanceId, reads_since: Millis) -> Answer<'_, Millis> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let sql = "UPDATE instances SET heartbeat_at = {now}, reads_since = $2 \
                           WHERE instance_id = $1 AND state = 'live' RETURNING heartbeat_at";
                let result = match tx.first(sql, values![instance.0, reads_since]).await {
                    Ok(Some(row)) => row.int("heartbeat_at"),
                    Ok(None) => Err(Error::RangeClosed),
                    Err(error) => Err(error),
                };
                tx.end(result).await
            })
            .await
        })
    }

    /// The instances that live, as far as the database has heard.
    pub fn instances(&self) -> Answer<'_, Vec<InstanceRow>> {
        Box::pin(async move {
            let sql = "SELECT instance_id, started_at, heartbeat_at, {now} - heartbeat_at AS silent FROM instances \
                   WHERE state = 'live' ORDER BY instance_id";
            let rows = self.db.query(sql, &[]).await?;
            rows.iter()
                .map(|row| {
                    Ok(InstanceRow {
                        id: InstanceId(row.int("instance_id")?),
                        started: row.int("started_at")?,
                        heartbeat: row.int("heartbeat_at")?,
                        silent: row.int("silent")?,
                    })
                })
                .collect()
        })
    }

    /// Reserves `count` chunk ids that were never given before. `nonce` must be fresh and random.
    ///
    /// # Errors
    /// [`Error::RangeClosed`] if the instance was judged dead, or has ended.
    pub fn reserve_range(&self, instance: InstanceId, count: u32, nonce: u64) -> Answer<'_, IdRange> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = reserve(&mut tx, instance, count.max(1), nonce).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Ends an instance and closes its ranges, so that a late commit of its fails. Its open chunks are sealed as they are.
    pub fn close_instance(&self, instance: InstanceId) -> Answer<'_, ()> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = close_if_live(&mut tx, instance).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Closes every instance but `survivor`, which knows that none of them runs any more; answers which that were.
    pub fn close_others(&self, survivor: InstanceId) -> Answer<'_, Vec<InstanceId>> {
        Box::pin(async move {
            let sql =
                "SELECT instance_id FROM instances WHERE state = 'live' AND instance_id <> $1 ORDER BY instance_id";
            let others = self.db.query(sql, values![survivor.0]).await?;
            let others: Vec<_> =
                others.iter().map(|row| row.int("instance_id").map(InstanceId)).collect::<Result<_>>()?;
            for &other in &others {
                self.close_instance(other).await?;
            }
            Ok(others)
        })
    }

    /// Instances (not `judge`) whose last heartbeat is older than `timeout` by the database's clock.
    ///
    /// Silence proves nothing while the database was away: the judge must itself have reached it for a whole `timeout`.
    pub fn silent_instances(&self, judge: InstanceId, timeout: Duration) -> Answer<'_, Vec<InstanceId>> {
        Box::pin(async move {
            let sql = "SELECT instance_id FROM instances WHERE state = 'live' AND instance_id <> $1 \
                   AND heartbeat_at < {now} - $2 ORDER BY instance_id";
            let rows = self.db.query(sql, values![judge.0, millis(timeout)]).await?;
            rows.iter().map(|row| row.int("instance_id").map(InstanceId)).collect()
        })
    }

    /// [`Self::close_instance`], if the instance is silent still: answers whether it is closed now. The judge must live.
    ///
    /// # Errors
    /// [`Error::RangeClosed`] if the judge was itself judged dead. [`Error::Unavailable`] if the silent one still has
    /// transactions (it may have been stopped in the middle of them): they are not waited for, as the judge would be silent
    /// itself meanwhile.
    pub fn close_silent(&self, judge: InstanceId, instance: InstanceId, timeout: Duration) -> Answer<'_, bool> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = close_silent(&mut tx, judge, instance, timeout).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Takes the lease of a job for `ttl`, or prolongs it if `holder` has it; `None` if somebody else has it.
    ///
    /// The token is new whenever the lease had run out, even if nobody took it meanwhile.
    pub fn acquire_lease<'a>(&'a self, job: &'a str, holder: InstanceId, ttl: Duration) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            let sql = "INSERT INTO leases (job, holder, token, until) VALUES ($1, $2, 1, {now} + $3) \
                   ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until = {now} + $3, \
                   token = CASE WHEN leases.holder = excluded.holder AND leases.until > {now} THEN leases.token \
                       ELSE leases.token + 1 END \
                   WHERE leases.holder = excluded.holder OR leases.until <= {now} RETURNING token";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = tx.first(sql, values![job, holder.0, millis(ttl)]).await;
                let row = tx.end(result).await?;
                row.map(|row| Ok(Lease { job: job.into(), token: row.int("token")?, holder })).transpose()
            })
            .await
        })
    }

    /// Gives a lease up, if it is still held.
    pub fn release_lease<'a>(&'a self, lease: &'a Lease, holder: InstanceId) -> Answer<'a, ()> {
        Box::pin(async move {
            // The row stays, so that the next token is larger.
            let sql = "UPDATE leases SET until = 0 WHERE job = $1 AND token = $2 AND holder = $3";
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = tx.execute(sql, values![&lease.job, lease.token, holder.0]).await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }
}

/// Holds a lease until the transaction ends: whoever wants it next waits so long.
pub(super) async fn hold_lease(tx: &mut Tx, lease: &Lease) -> Result<()> {
    let sql = "SELECT token FROM leases WHERE job = $1 AND token = $2 AND until > {now} {share}";
    match tx.first(sql, values![&lease.job, lease.token]).await? {
        Some(_) => Ok(()),
        None => Err(Error::LeaseLost(lease.job.clone())),
    }
}

/// Locks an instance's row; answers whether it lives.
async fn hold_instance(tx: &mut Tx, instance: InstanceId) -> Result<bool> {
    let sql = "SELECT state FROM instances WHERE instance_id = $1 {update}";
    Ok(match tx.first(sql, values![instance.0]).await? {
        Some(row) => row.text("state")? == "live",
        None => false,
    })
}

/// Locks the leases that an instance has: they come before its row, as they do for who takes one.
async fn hold_leases(tx: &mut Tx, instance: InstanceId) -> Result<()> {
    let sql = "SELECT job FROM leases WHERE holder = $1 ORDER BY job {update}";
    tx.query(sql, values![instance.0]).await.map(|_| ())
}

async fn close_if_live(tx: &mut Tx, instance: InstanceId) -> Result<()> {
    hold_leases(tx, instance).await?;
    if hold_instance(tx, instance).await? {
        close(tx, instance).await?;
    }
    Ok(())
}

async fn reserve(tx: &mut Tx, instance: InstanceId, count: u32, nonce: u64) -> Result<IdRange> {
    if !hold_instance(tx, instance).await? {
        return Err(Error::RangeClosed);
    }
    let sql = "UPDATE deployment SET last_seq = last_seq + $1 RETURNING last_seq";
    let row = tx.first(sql, values![i64::from(count)]).await?;
    let last: u64 = row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?.number("last_seq")?;
    let first = (last + 1).saturating_sub(u64::from(count));
    let sql = "INSERT INTO id_ranges (first, last, nonce, instance_id, state) VALUES ($1, $2, $3, $4, 'open')";
    tx.execute(sql, values![int(first), int(last), nonce as i64, instance.0]).await?;
    Ok(IdRange { first, last, nonce })
}

async fn close_silent(tx: &mut Tx, judge: InstanceId, instance: InstanceId, timeout: Duration) -> Result<bool> {
    tx.wait_at_most(timeout / JUDGEMENT_SHARE).await?;
    hold_leases(tx, instance).await?;
    // Two judges of each other must not both win, nor wait for each other: rows are locked in one order.
    let (first, second) = if judge < instance { (judge, instance) } else { (instance, judge) };
    let lives = [hold_instance(tx, first).await?, hold_instance(tx, second).await?];
    let [judge_lives, instance_lives] = if judge < instance { lives } else { [lives[1], lives[0]] };
    if !judge_lives {
        return Err(Error::RangeClosed);
    }
    if instance_lives {
        let sql = "SELECT instance_id FROM instances WHERE instance_id = $1 AND heartbeat_at < {now} - $2";
        if tx.first(sql, values![instance.0, millis(timeout)]).await?.is_none() {
            return Ok(false);
        }
        close(tx, instance).await?;
    }
    Ok(true)
}

/// Closes an instance whose leases and row are locked. Commits that hold a range open are waited for; later ones find it closed.
async fn close(tx: &mut Tx, instance: InstanceId) -> Result<()> {
    tx.execute("UPDATE instances SET state = 'closed' WHERE instance_id = $1", values![instance.0]).await?;
    // Its jobs are for others to go on with; were it to wake up, its tokens are of no more use.
    tx.execute("UPDATE leases SET until = 0 WHERE holder = $1", values![instance.0]).await?;
    tx.execute("DELETE FROM volume_reports WHERE instance_id = $1", values![instance.0]).await?;
    let sql =
        "SELECT first, last, nonce FROM id_ranges WHERE instance_id = $1 AND state = 'open' ORDER BY first {update}";
    let ranges = tx.query(sql, values![instance.0]).await?;
    let sql = "UPDATE id_ranges SET state = 'closed', changed_at = {now} WHERE instance_id = $1 AND state = 'open'";
    tx.execute(sql, values![instance.0]).await?;
    for range in &ranges {
        let nonce = range.int("nonce")? as u64;
        let first = ChunkId { seq: range.number("first")?, nonce: 0 }.to_bytes();
        let last = ChunkId { seq: range.number("last")?, nonce: u64::MAX }.to_bytes();
        tracing::debug!(instance = instance.0, nonce, "closing a range of chunk ids");
        let sql = "UPDATE chunks SET state = CASE WHEN live = 0 THEN 'dead' ELSE 'sealed' END, \
                   died_at = CASE WHEN live = 0 THEN {now} END \
                   WHERE chunk_id >= $1 AND chunk_id <= $2 AND state = 'open'";
        tx.execute(sql, values![&first, &last]).await?;
        let sql = "DELETE FROM heal_queue WHERE chunk_id IN \
                   (SELECT chunk_id FROM chunks WHERE chunk_id >= $1 AND chunk_id <= $2 AND state = 'dead')";
        tx.execute(sql, values![&first, &last]).await?;
    }
    Ok(())
}
