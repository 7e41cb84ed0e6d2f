//! Work that goes on for long: what was asked for, how far it is, what came of it. All by the database's clock.
//!
//! A job's row outlives who works at it: its cursor is written with the same transaction as its counts, so that the next holder of
//! its lease goes on where the last one stopped.

use std::fmt;
use std::str::FromStr;

use super::dialect::{Row, Tx, retrying, values};
use super::rows::int;
use super::{Answer, Error, Lease, Metadata, Result, instances};
use crate::clock::Millis;

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Asked for; nobody has begun.
    Waiting,
    /// Begun. It goes on whoever does it.
    Running,
    /// All of it was done.
    Done,
    /// It ended, and not all of it could be done: the message says what.
    Failed,
}

impl JobState {
    /// As in SQL and on a screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether there is work left in it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for JobState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Waiting, Self::Running, Self::Done, Self::Failed].into_iter().find(|s| s.name() == text).ok_or(())
    }
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its name: what is done, and to which volume if it is to one: `scrub`, `drain:v3`.
    pub name: String,
    /// What became of it.
    pub state: JobState,
    /// When it was asked for last.
    pub requested: Millis,
    /// When that was begun.
    pub started: Option<Millis>,
    /// When anything of this was written last.
    pub updated: Millis,
    /// How far it has come, in its own words.
    pub cursor: String,
    /// Steps done.
    pub done: u64,
    /// Steps there were at its start.
    pub total: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// What it found wrong.
    pub found: u64,
    /// What it has to say.
    pub message: String,
}

impl JobRow {
    /// Bytes per second since it began.
    pub fn rate(&self) -> Option<u64> {
        let millis = u64::try_from(self.updated - self.started?).ok().filter(|&millis| millis > 0)?;
        Some(self.bytes.saturating_mul(1000) / millis)
    }

    /// Seconds that are left, if it goes on as it did.
    pub fn seconds_left(&self) -> Option<u64> {
        let millis = u64::try_from(self.updated - self.started?).ok()?;
        let left = self.total.checked_sub(self.done)?;
        let running = self.state == JobState::Running;
        running.then(|| millis.saturating_mul(left).checked_div(self.done))?.map(|millis| millis / 1000)
    }
}

/// A job's next position, and what was done to get there.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The new position.
    pub cursor: String,
    /// Steps done since the last one.
    pub done: u64,
    /// Bytes read and written since.
    pub bytes: u64,
    /// What was found wrong since.
    pub found: u64,
    /// What it has to say, instead of what it said before.
    pub message: String,
}

const COLUMNS: &str = "name, state, requested, started, updated, cursor, done, total, bytes, found, message";

impl Metadata {
    /// Asks for a job: from its start, unless it is waiting or running already. Answers whether it was asked for anew.
    pub fn request_job<'a>(&'a self, name: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = request(&mut tx, name).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// A job; `None` if it was never asked for.
    pub fn job<'a>(&'a self, name: &'a str) -> Answer<'a, Option<JobRow>> {
        Box::pin(async move {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE name = $1");
            self.db.first(&sql, values![name]).await?.as_ref().map(job).transpose()
        })
    }

    /// All jobs that ever were asked for, by name.
    pub fn jobs(&self) -> Answer<'_, Vec<JobRow>> {
        Box::pin(async move {
            let sql = format!("SELECT {COLUMNS} FROM jobs ORDER BY name");
            self.db.query(&sql, &[]).await?.iter().map(job).collect()
        })
    }

    /// Begins a job that waits, with so many steps before it. One that runs goes on as it is.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn start_job<'a>(&'a self, lease: &'a Lease, name: &'a str, total: u64) -> Answer<'a, ()> {
        let sql = "UPDATE jobs SET state = 'running', started = {now}, updated = {now}, cursor = '', done = 0, \
                   bytes = 0, found = 0, message = '', total = $2 WHERE name = $1 AND state = 'waiting'";
        Box::pin(async move { self.change_job(lease, sql, name, &[], Some(int(total))).await })
    }

    /// Notes how far a running job has come.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn advance_job<'a>(&'a self, lease: &'a Lease, name: &'a str, progress: &'a Progress) -> Answer<'a, ()> {
        Box::pin(async move {
            let Progress { cursor, done, bytes, found, message } = progress;
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = async {
                    instances::hold_lease(&mut tx, lease).await?;
                    let sql = "UPDATE jobs SET cursor = $2, done = done + $3, bytes = bytes + $4, found = found + $5, \
                               message = $6, updated = {now} WHERE name = $1 AND state = 'running'";
                    tx.execute(sql, values![name, cursor, int(*done), int(*bytes), int(*found), message]).await
                };
                let result = result.await;
                tx.end(result).await.map(|_| ())
            })
            .await
        })
    }

    /// Ends a running job.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn finish_job<'a>(
        &'a self,
        lease: &'a Lease,
        name: &'a str,
        state: JobState,
        message: &'a str,
    ) -> Answer<'a, ()> {
        let sql = "UPDATE jobs SET state = $2, message = $3, updated = {now} WHERE name = $1 AND state = 'running'";
        Box::pin(async move { self.change_job(lease, sql, name, &[state.name(), message], None).await })
    }

    async fn change_job(
        &self,
        lease: &Lease,
        sql: &str,
        name: &str,
        texts: &[&str],
        number: Option<i64>,
    ) -> Result<()> {
        let mut given = vec![super::dialect::Value::from(name)];
        given.extend(texts.iter().map(|text| super::dialect::Value::from(*text)));
        given.extend(number.map(super::dialect::Value::from));
        retrying(|| async {
            let mut tx = self.db.begin(None).await?;
            let result = match instances::hold_lease(&mut tx, lease).await {
                Ok(()) => tx.execute(sql, &given).await,
                Err(error) => Err(error),
            };
            tx.end(result).await.map(|_| ())
        })
        .await
    }
}

/// Asks for a job within another transaction.
pub(super) async fn request(tx: &mut Tx, name: &str) -> Result<bool> {
    let sql = "INSERT INTO jobs (name, state, requested, updated) VALUES ($1, 'waiting', {now}, {now}) \
               ON CONFLICT (name) DO UPDATE SET state = 'waiting', requested = {now}, updated = {now}, started = NULL, \
               cursor = '', done = 0, total = 0, bytes = 0, found = 0, message = '' \
               WHERE jobs.state NOT IN ('waiting', 'running')";
    Ok(tx.execute(sql, values![name]).await? > 0)
}

fn job(row: &Row) -> Result<JobRow> {
    let state = row.text("state")?;
    Ok(JobRow {
        name: row.text("name")?,
        state: state.parse().map_err(|()| Error::Corrupt(format!("a job cannot be {state:?}")))?,
        requested: row.int("requested")?,
        started: row.opt_int("started")?,
        updated: row.int("updated")?,
        cursor: row.text("cursor")?,
        done: row.number("done")?,
        total: row.number("total")?,
        bytes: row.number("bytes")?,
        found: row.number("found")?,
        message: row.text("message")?,
    })
}
