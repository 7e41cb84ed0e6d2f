//! What SQLite's transactions change, row by row, for the log on the volumes. (PostgreSQL has logs of its own, and archives them.)
//!
//! Temporary triggers on the one connection that writes note every row of the tables of which snapshots are made, within the
//! transaction: what is rolled back is not noted. Just before COMMIT the notes are taken together as one numbered record.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Executor, Row as _, SqliteConnection};
use tokio::sync::{Notify, watch};

use crate::metadata::dump::{Kind, TABLES, Table};

/// Bytes of records that wait for the volumes at most. What comes then is lost to the log, and only a new snapshot closes the gap.
const WAITING_MAX: usize = 128 << 20;

/// What one transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Its number; they follow one another.
    pub seq: u64,
    /// The rows, in order, as [`super::super::read_changes`] reads them.
    pub rows: String,
}

/// Records on their way from commits to the volumes.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    on: AtomicBool,
    waiting: Mutex<Waiting>,
    pub(in crate::metadata) wake: Notify,
    /// Whether commits wait until they were written ...
    holds: watch::Sender<bool>,
    /// ... and up to which number all were.
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<ChangeRecord>,
    bytes: usize,
    lost: bool,
}

impl ChangeLog {
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    pub(super) fn switch_on(&self) {
        self.on.store(true, Ordering::Release);
    }

    /// Takes a record of what was committed.
    pub(super) fn push(&self, record: ChangeRecord) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += record.rows.len();
        if waiting.bytes > WAITING_MAX {
            *waiting = Waiting { lost: true, ..Waiting::default() };
        } else {
            waiting.records.push(record);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    pub(in crate::metadata) fn hold_answers(&self, hold: bool) {
        self.holds.send_replace(hold);
    }

    pub(in crate::metadata) fn set_written(&self, seq: u64) {
        self.written.send_if_modified(|written| {
            let further = *written < seq;
            *written = seq.max(*written);
            further
        });
    }

    /// Waits until a record was written, if commits are held back for that; answers whether it was, or need not be.
    pub(super) async fn written(&self, seq: u64, patience: Duration) -> bool {
        let (mut holds, mut written) = (self.holds.subscribe(), self.written.subscribe());
        let done = async {
            tokio::select! {
                _ = holds.wait_for(|hold| !hold) => {}
                _ = written.wait_for(|written| *written >= seq) => {}
            }
        };
        tokio::time::timeout(patience, done).await.is_ok()
    }

    /// What waits, and whether something was lost before it.
    pub(in crate::metadata) fn take(&self) -> (Vec<ChangeRecord>, bool) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        (waiting.records, waiting.lost)
    }

    /// Puts back what could not be written, before what came since.
    pub(in crate::metadata) fn put_back(&self, mut records: Vec<ChangeRecord>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += records.iter().map(|record| record.rows.len()).sum::<usize>();
        records.append(&mut waiting.records);
        waiting.records = records;
    }
}

/// Columns of a row of a trigger, as JSON. Bytes are hexadecimal.
fn values<'a>(of: &str, columns: impl Iterator<Item = &'a (&'static str, Kind)>) -> String {
    let mut out = String::from("json_array(");
    for (at, (name, kind)) in columns.enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        // Writing to a String cannot fail.
        _ = match kind {
            Kind::Bytes => write!(out, "{comma}CASE WHEN {of}.{name} IS NOT NULL THEN hex({of}.{name}) END"),
            _ => write!(out, "{comma}{of}.{name}"),
        };
    }
    out.push(')');
    out
}

fn triggers(table: &Table) -> String {
    let name = table.name;
    let key = || table.columns.iter().take(table.key);
    let (new, old) = (values("NEW", table.columns.iter()), values("OLD", key()));
    let moved: Vec<String> = key().map(|(column, _)| format!("OLD.{column} IS NOT NEW.{column}")).collect();
    let is = format!("INSERT INTO changes (t, r) VALUES ('{name}', {new});");
    format!(
        "CREATE TEMP TRIGGER IF NOT EXISTS log_{name}_insert AFTER INSERT ON main.{name} BEGIN {is} END;
         CREATE TEMP TRIGGER IF NOT EXISTS log_{name}_update AFTER UPDATE ON main.{name} BEGIN \
            INSERT INTO changes (t, k) SELECT '{name}', {old} WHERE {}; {is} END;
         CREATE TEMP TRIGGER IF NOT EXISTS log_{name}_delete AFTER DELETE ON main.{name} BEGIN \
            INSERT INTO changes (t, k) VALUES ('{name}', {old}); END;",
        moved.join(" OR ")
    )
}

/// Has a connection note what its transactions change.
pub(super) async fn arm(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA temp_store = MEMORY").await?;
    let notes = "CREATE TEMP TABLE IF NOT EXISTS changes (n INTEGER PRIMARY KEY, t TEXT NOT NULL, k TEXT, r TEXT)";
    connection.execute(notes).await?;
    for table in TABLES {
        connection.execute(&*triggers(table)).await?;
    }
    Ok(())
}

/// Takes what a transaction that is about to commit has changed; `None` if that is nothing.
pub(super) async fn collect(connection: &mut SqliteConnection) -> Result<Option<ChangeRecord>, sqlx::Error> {
    if sqlx::query("SELECT 1 FROM temp.changes LIMIT 1").fetch_all(&mut *connection).await?.is_empty() {
        return Ok(None);
    }
    let sql = "UPDATE deployment SET log_seq = log_seq + 1 RETURNING log_seq";
    let numbered = sqlx::query(sql).fetch_all(&mut *connection).await?;
    let seq: i64 = numbered.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let sql =
        "SELECT json_group_array(json_array(t, json(k), json(r))) FROM (SELECT t, k, r FROM temp.changes ORDER BY n)";
    let noted = sqlx::query(sql).fetch_all(&mut *connection).await?;
    let rows: String = noted.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    sqlx::query("DELETE FROM temp.changes").execute(&mut *connection).await?;
    Ok(Some(ChangeRecord { seq: seq.unsigned_abs(), rows }))
}
