//! The one place that knows which database runs.
//!
//! Statements are written once, in what PostgreSQL and SQLite both speak. What they do not share is written as a word in
//! braces, which this file replaces:
//!
//! | word | PostgreSQL | SQLite |
//! |---|---|---|
//! | `{share}` | `FOR SHARE` | nothing: there is one writer |
//! | `{update}` | `FOR UPDATE` | nothing |
//! | `{change}` | `FOR NO KEY UPDATE`: new rows may still refer to it | nothing |
//! | `{skip}` | `FOR UPDATE SKIP LOCKED` | nothing |
//! | `{given}` | `OVERRIDING SYSTEM VALUE`: numbers that the database gives elsewhere are given to it | nothing |
//! | `{now}` | the database's clock in milliseconds | the same |
//! | `{blob}` | the type of bytes in a `CAST` | the same |
//! | `{input:a,b}` | rows of columns `a` and `b`, by `UNNEST` | the same, by `json_each` |
//!
//! Each transaction that changes what clients see has a [`BatchId`]: see [`Tx::end`].

mod changes;
mod error;
mod open;
mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub(crate) use self::changes::ChangeLog;
pub use self::changes::ChangeRecord;
use self::error::Kind;
pub(crate) use self::error::retrying;
pub(crate) use self::value::{Column, Row, Value, values};
use super::{BatchId, Error, Result};
use crate::clock::random_bytes;
use crate::crash;

/// A connected database. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// PostgreSQL.
    Postgres(Server),
    /// SQLite.
    Sqlite {
        read: SqlitePool,
        /// One connection.
        write: SqlitePool,
        patience: Duration,
        log: Arc<ChangeLog>,
    },
}

/// A PostgreSQL server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pool: PgPool,
    /// How long to wait for an answer before the connection counts as lost: longer than the server lets a statement run.
    patience: Duration,
    losses: Arc<Losses>,
}

/// When a connection was last found lost: those that were idle then may be lost with it, and are tested before use.
#[derive(Debug)]
struct Losses {
    epoch: Instant,
    /// Milliseconds since `epoch`; 0 if there was none.
    last: AtomicU64,
}

impl Losses {
    fn new() -> Self {
        Self { epoch: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.last.fetch_max(self.now() + 1, Ordering::Relaxed);
    }

    /// Whether a connection that has been idle so long was so already when another was found lost.
    fn suspects(&self, idle_for: Duration) -> bool {
        let idle_for = u64::try_from(idle_for.as_millis()).unwrap_or(u64::MAX);
        self.now().saturating_sub(idle_for) <= self.last.load(Ordering::Relaxed)
            && self.last.load(Ordering::Relaxed) > 0
    }
}

/// Until its end a transaction may be idle.
const NO_IDLE_LIMIT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";
/// How often a statement is tried on another connection if the pooled one turns out to be dead.
const CONNECTIONS_TRIED: u32 = 3;
/// The pause before the outcome of a COMMIT is asked for again; it doubles.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

impl Db {
    /// The rows of a statement that changes nothing.
    pub(crate) fn query<'a>(&'a self, sql: &'a str, values: &'a [Value<'a>]) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            match self {
                Self::Postgres(server) => {
                    let sql = postgres_text(sql, values.len(), &[]);
                    for _ in 1..CONNECTIONS_TRIED {
                        match Held::new(server).await?.rows(&sql, values, &[]).await {
                            // A reader may simply ask again.
                            Err(error) if error::kind(&error) == Kind::Lost => {}
                            other => return other.map_err(error::refused),
                        }
                    }
                    Held::new(server).await?.rows(&sql, values, &[]).await.map_err(error::refused)
                }
                Self::Sqlite { read, patience, .. } => {
                    let sql = sqlite_text(sql, values.len(), &[]);
                    let query = sqlx::query_with(&sql, value::sqlite_arguments(values, &[])?).fetch_all(read);
                    let rows = within(*patience, query).await.map_err(error::refused)?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        })
    }

    /// The first row of a statement that changes nothing.
    pub(crate) async fn first(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// Begins a transaction that writes. With a batch, its id is the first row that it inserts.
    pub(crate) fn begin(&self, batch: Option<BatchId>) -> BoxFuture<'_, Result<Tx>> {
        Box::pin(async move {
            let mut tx = Tx { on: self.begin_bare().await?, db: self.clone(), batch };
            if let Some(batch) = batch {
                let sql = "INSERT INTO commits (batch_id, kept, at) VALUES ($1, 1, {now})";
                if let Err(error) = tx.execute(sql, values![&batch.0]).await {
                    return tx.end(Err(error)).await;
                }
            }
            Ok(tx)
        })
    }

    /// Begins a transaction that only reads, and sees the rows of one moment however long it lasts.
    pub(crate) async fn begin_view(&self) -> Result<Tx> {
        let on = match self {
            Self::Postgres(server) => {
                let mut held = Held::new(server).await?;
                held.busy = true;
                held.say("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(error::refused)?;
                // Between two pages it may take long until what was read is written somewhere.
                held.say(NO_IDLE_LIMIT).await.map_err(error::refused)?;
                On::Postgres(held)
            }
            Self::Sqlite { read, patience, .. } => {
                let read = read.clone();
                let begun = tokio::spawn(async move { read.begin().await });
                let begun = async { begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed)) };
                On::Sqlite(within(*patience, begun).await.map_err(error::refused)?)
            }
        };
        Ok(Tx { on, db: self.clone(), batch: None })
    }

    async fn begin_bare(&self) -> Result<On> {
        match self {
            Self::Postgres(server) => {
                for attempt in 1.. {
                    let mut held = Held::new(server).await?;
                    held.busy = true;
                    match held.say("BEGIN ISOLATION LEVEL READ COMMITTED").await {
                        Ok(()) => return Ok(On::Postgres(held)),
                        Err(error) if error::kind(&error) == Kind::Lost && attempt < CONNECTIONS_TRIED => {}
                        Err(error) => return Err(error::refused(error)),
                    }
                }
                Err(Error::Unavailable("no connection could begin a transaction".into()))
            }
            Self::Sqlite { write, patience, .. } => {
                // In a task of its own: dropped between the BEGIN and its answer, the connection would stay in a transaction.
                let write = write.clone();
                let begun = tokio::spawn(async move { write.begin_with("BEGIN IMMEDIATE").await });
                let begun = async { begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed)) };
                Ok(On::Sqlite(within(*patience, begun).await.map_err(error::refused)?))
            }
        }
    }

    /// Finds out what became of a transaction whose COMMIT went unanswered.
    ///
    /// Its id is inserted once more. If it is there, the transaction was committed. If it is not, the insert waits for the
    /// transaction if it still runs, and once it succeeded the transaction can never be committed. The row says
    /// which of the two inserted it, so that an answer lost here changes nothing.
    async fn settle(&self, batch: BatchId, why: String) -> Result<()> {
        let sql = "INSERT INTO commits (batch_id, kept, at) VALUES ($1, 0, {now}) \
                   ON CONFLICT (batch_id) DO UPDATE SET at = commits.at RETURNING kept";
        let patience = match self {
            Self::Postgres(Server { patience, .. }) | Self::Sqlite { patience, .. } => *patience,
        };
        let deadline = tokio::time::Instant::now() + patience;
        let mut pause = SETTLE_PAUSE;
        loop {
            match self.write_once(sql, values![&batch.0]).await {
                Ok(rows) => {
                    let kept = rows.first().map(|row| row.int("kept")).transpose()?;
                    return match kept {
                        Some(1) => Ok(()),
                        _ => Err(Error::Unavailable(format!("the transaction was not committed: {why}"))),
                    };
                }
                Err(error) if tokio::time::Instant::now() < deadline => {
                    tracing::warn!(%error, "what became of a commit cannot be learnt; asking again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(Error::Ambiguous(format!("{why}; then {error}"))),
            }
        }
    }

    /// Hands on what was committed, and waits until it was written where commits wait for that.
    async fn log(&self, changed: Option<ChangeRecord>) -> Result<()> {
        let (Self::Sqlite { log, patience, .. }, Some(changed)) = (self, changed) else { return Ok(()) };
        let seq = changed.seq;
        log.push(changed);
        match log.written(seq, *patience).await {
            true => Ok(()),
            // It may yet be lost with the database.
            false => Err(Error::Ambiguous("it is committed, but not in the log on the volumes".into())),
        }
    }

    /// One statement that is a transaction.
    async fn write_once(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        match self {
            Self::Postgres(server) => {
                let sql = postgres_text(sql, values.len(), &[]);
                Held::new(server).await?.rows(&sql, values, &[]).await.map_err(error::refused)
            }
            Self::Sqlite { write, patience, .. } => {
                let sql = sqlite_text(sql, values.len(), &[]);
                let query = sqlx::query_with(&sql, value::sqlite_arguments(values, &[])?).fetch_all(write);
                let rows = within(*patience, query).await.map_err(error::refused)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Has what is committed from now on logged; `None` where the database keeps logs of its own.
    pub(crate) async fn log_changes(&self) -> Result<Option<Arc<ChangeLog>>> {
        let Self::Sqlite { write, log, .. } = self else { return Ok(None) };
        log.switch_on();
        let mut connection = write.acquire().await.map_err(error::refused)?;
        changes::arm(&mut connection).await.map_err(error::refused)?;
        Ok(Some(Arc::clone(log)))
    }

    /// Closes all connections, once those in use are given back.
    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(server) => server.pool.close().await,
            Self::Sqlite { read, write, .. } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

/// A pooled PostgreSQL connection that is thrown away rather than given back if it was left in the middle of something:
/// a future that was dropped, an answer that did not come.
struct Held {
    connection: PoolConnection<Postgres>,
    busy: bool,
    patience: Duration,
    losses: Arc<Losses>,
}

impl Held {
    async fn new(server: &Server) -> Result<Self> {
        let connection = server.pool.acquire().await.map_err(error::refused)?;
        Ok(Self { connection, busy: false, patience: server.patience, losses: server.losses.clone() })
    }

    fn note<T>(&self, result: &Result<T, sqlx::Error>) -> bool {
        let lost = result.as_ref().is_err_and(|error| error::kind(error) == Kind::Lost);
        if lost {
            self.losses.note();
        }
        lost
    }

    async fn rows(&mut self, sql: &str, values: &[Value<'_>], columns: &[Column<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let arguments = value::postgres_arguments(values, columns).map_err(unencodable)?;
        let busy = std::mem::replace(&mut self.busy, true);
        let rows = within(self.patience, sqlx::query_with(sql, arguments).fetch_all(&mut *self.connection)).await;
        self.busy = self.note(&rows) || busy;
        Ok(rows?.into_iter().map(Row::Postgres).collect())
    }

    /// How many rows a statement changed, within a transaction.
    async fn changed(&mut self, sql: &str, values: &[Value<'_>], columns: &[Column<'_>]) -> Result<u64, sqlx::Error> {
        let arguments = value::postgres_arguments(values, columns).map_err(unencodable)?;
        let done = within(self.patience, sqlx::query_with(sql, arguments).execute(&mut *self.connection)).await;
        self.note(&done);
        Ok(done?.rows_affected())
    }

    /// BEGIN, COMMIT, ROLLBACK.
    async fn say(&mut self, word: &str) -> Result<(), sqlx::Error> {
        let done = within(self.patience, self.connection.execute(word)).await;
        self.note(&done);
        done.map(|_| ())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.busy {
            self.connection.close_on_drop();
        }
    }
}

fn unencodable(error: Error) -> sqlx::Error {
    sqlx::Error::InvalidArgument(error.to_string())
}

/// A database's answer, or the loss of the connection if it takes too long.
async fn within<T>(patience: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database did not answer")))
    })
}

enum On {
    Postgres(Held),
    Sqlite(Transaction<'static, Sqlite>),
}

/// A transaction that writes. Dropped, it is rolled back.
pub(crate) struct Tx {
    on: On,
    db: Db,
    batch: Option<BatchId>,
}

impl Tx {
    /// The rows of a statement.
    pub(crate) async fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.query_many(sql, values, &[]).await
    }

    /// The first row of a statement.
    pub(crate) async fn first(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// The rows of a statement with an `{input:…}` of these columns, which are all of one length.
    pub(crate) fn query_many<'a>(
        &'a mut self,
        sql: &'a str,
        values: &'a [Value<'a>],
        columns: &'a [Column<'a>],
    ) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            match &mut self.on {
                On::Postgres(held) => {
                    let sql = postgres_text(sql, values.len(), columns);
                    held.rows(&sql, values, columns).await.map_err(error::refused)
                }
                On::Sqlite(tx) => {
                    let sql = sqlite_text(sql, values.len(), columns);
                    let query = sqlx::query_with(&sql, value::sqlite_arguments(values, columns)?);
                    let rows = query.fetch_all(&mut **tx).await.map_err(error::refused)?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        })
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.execute_many(sql, values, &[]).await
    }

    /// How many rows a statement with an `{input:…}` of these columns changed.
    pub(crate) fn execute_many<'a>(
        &'a mut self,
        sql: &'a str,
        values: &'a [Value<'a>],
        columns: &'a [Column<'a>],
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            match &mut self.on {
                On::Postgres(held) => {
                    let sql = postgres_text(sql, values.len(), columns);
                    held.changed(&sql, values, columns).await.map_err(error::refused)
                }
                On::Sqlite(tx) => {
                    let sql = sqlite_text(sql, values.len(), columns);
                    let query = sqlx::query_with(&sql, value::sqlite_arguments(values, columns)?);
                    Ok(query.execute(&mut **tx).await.map_err(error::refused)?.rows_affected())
                }
            }
        })
    }

    /// Lets the transaction stay idle between its statements for as long as it likes, whoever waits for its locks.
    pub(crate) async fn may_pause(&mut self) -> Result<()> {
        match &mut self.on {
            On::Postgres(held) => held.say(NO_IDLE_LIMIT).await.map_err(error::refused),
            On::Sqlite(_) => Ok(()),
        }
    }

    /// Has the numbers that the database gives in `column` go on after the largest that is there. SQLite does so by itself.
    pub(crate) async fn go_on_numbering(&mut self, table: &str, column: &str) -> Result<()> {
        if let On::Postgres(..) = self.on {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), COALESCE(MAX({column}), 0) + 1, false) AS next \
                 FROM {table}"
            );
            self.query(&sql, &[]).await?;
        }
        Ok(())
    }

    /// Locks names of rows that may not exist, until the transaction ends. Sorted, so that two transactions that lock
    /// the same names never wait for each other. On SQLite the transaction is alone anyway.
    pub(crate) async fn lock_names(&mut self, mut names: Vec<i64>) -> Result<()> {
        if let On::Postgres(..) = self.on {
            names.sort_unstable();
            names.dedup();
            let sql = "SELECT CAST(pg_advisory_xact_lock(name) AS TEXT) AS locked \
                       FROM (SELECT name FROM {input:name} ORDER BY name) AS names";
            self.query_many(sql, &[], &[Column::Ints(names)]).await?;
        }
        Ok(())
    }

    /// Has each further statement of the transaction wait for a lock no longer than this; then it fails as unavailable. On SQLite
    /// the transaction is alone anyway.
    pub(crate) async fn wait_at_most(&mut self, time: Duration) -> Result<()> {
        if let On::Postgres(..) = self.on {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::from(i32::MAX) / 2);
            let sql = "SELECT set_config('lock_timeout', CAST(CAST($1 AS BIGINT) AS TEXT), true)";
            self.query(sql, values![millis]).await?;
        }
        Ok(())
    }

    /// Ends a transaction that only read; its connection can be used again.
    pub(crate) async fn end_view(self) {
        self.on.roll_back().await;
    }

    /// Ends the transaction: commits what succeeded, rolls back what did not.
    ///
    /// If no one answers the COMMIT of a batch, its outcome is found out before anything is said (see [`Db::settle`]).
    pub(crate) fn end<'a, T: Send + 'a>(self, result: Result<T>) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            let Self { mut on, db, batch } = self;
            let value = match result {
                Ok(value) => value,
                Err(error) => {
                    on.roll_back().await;
                    return Err(error);
                }
            };
            let changed = match on.changed(&db).await {
                Ok(changed) => changed,
                Err(error) => {
                    on.roll_back().await;
                    return Err(error::refused(error));
                }
            };
            // Only what clients may come to know of: the others' crashes are like any.
            if batch.is_some() {
                crash::point("commit.before");
            }
            match (on.commit().await, batch) {
                (Ok(()), batch) => {
                    if batch.is_some() {
                        crash::point("commit.after");
                    }
                    db.log(changed).await?;
                    Ok(value)
                }
                (Err(error), Some(batch)) if error::kind(&error) == Kind::Lost => {
                    tracing::warn!(%error, "a commit was not answered");
                    db.settle(batch, error.to_string()).await?;
                    db.log(changed).await?;
                    Ok(value)
                }
                (Err(error), _) => Err(error::refused(error)),
            }
        })
    }
}

impl On {
    /// What a transaction of a logged database has changed.
    async fn changed(&mut self, db: &Db) -> Result<Option<ChangeRecord>, sqlx::Error> {
        match (self, db) {
            (Self::Sqlite(tx), Db::Sqlite { log, .. }) if log.is_on() => changes::collect(tx).await,
            _ => Ok(None),
        }
    }

    async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(mut held) => {
                held.say("COMMIT").await?;
                held.busy = false;
                Ok(())
            }
            Self::Sqlite(tx) => tx.commit().await,
        }
    }

    async fn roll_back(self) {
        let result = match self {
            Self::Postgres(mut held) => {
                let result = held.say("ROLLBACK").await;
                held.busy = result.is_err();
                result
            }
            Self::Sqlite(tx) => tx.rollback().await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a rollback failed; the connection is closed");
        }
    }
}

/// A fresh id, for transactions whose callers bring none.
pub(crate) fn fresh_batch() -> BatchId {
    BatchId(random_bytes())
}

fn postgres_text<'a>(sql: &'a str, values: usize, columns: &[Column<'_>]) -> Cow<'a, str> {
    replace(sql, |word, out| match word {
        "share" => out.push_str("FOR SHARE"),
        "update" => out.push_str("FOR UPDATE"),
        "change" => out.push_str("FOR NO KEY UPDATE"),
        "skip" => out.push_str("FOR UPDATE SKIP LOCKED"),
        "now" => out.push_str("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
        "blob" => out.push_str("BYTEA"),
        "given" => out.push_str("OVERRIDING SYSTEM VALUE"),
        _ => {
            let names = word.strip_prefix("input:").unwrap_or(word);
            let arrays: Vec<_> = columns
                .iter()
                .enumerate()
                .map(|(i, column)| format!("CAST(${} AS {})", values + 1 + i, column.array()))
                .collect();
            out.push_str(&format!("UNNEST({}) AS input({names})", arrays.join(", ")));
        }
    })
}

fn sqlite_text<'a>(sql: &'a str, values: usize, columns: &[Column<'_>]) -> Cow<'a, str> {
    replace(sql, |word, out| match word {
        "share" | "update" | "change" | "skip" | "given" => {}
        "now" => out.push_str("CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
        "blob" => out.push_str("BLOB"),
        _ => {
            let names = word.strip_prefix("input:").unwrap_or(word).split(',');
            let fields: Vec<_> = columns
                .iter()
                .zip(names)
                .enumerate()
                .map(|(i, (column, name))| format!("{} AS {}", column.extract(i), name.trim()))
                .collect();
            out.push_str(&format!("(SELECT {} FROM json_each(${})) AS input", fields.join(", "), values + 1));
        }
    })
}

/// Replaces each word in braces.
fn replace(sql: &str, word: impl Fn(&str, &mut String)) -> Cow<'_, str> {
    let Some((before, mut rest)) = sql.split_once('{') else { return Cow::Borrowed(sql) };
    let mut out = String::with_capacity(sql.len() + 128);
    out.push_str(before);
    while let Some((name, after)) = rest.split_once('}') {
        word(name, &mut out);
        match after.split_once('{') {
            Some((between, next)) => {
                out.push_str(between);
                rest = next;
            }
            None => {
                out.push_str(after);
                break;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_become_what_each_database_speaks() {
        let columns = [Column::Ints(vec![1]), Column::Bytes(vec![b"x"])];
        let sql = "SELECT a FROM t JOIN {input:a,b} ON t.a = input.a WHERE c = $1 {update}";
        assert_eq!(
            postgres_text(sql, 1, &columns),
            "SELECT a FROM t JOIN UNNEST(CAST($2 AS bigint[]), CAST($3 AS bytea[])) AS input(a,b) ON t.a = input.a \
             WHERE c = $1 FOR UPDATE"
        );
        assert_eq!(
            sqlite_text(sql, 1, &columns),
            "SELECT a FROM t JOIN (SELECT value->>0 AS a, unhex(value->>1) AS b FROM json_each($2)) AS input \
             ON t.a = input.a WHERE c = $1 "
        );
        assert!(matches!(postgres_text("SELECT 1", 0, &[]), Cow::Borrowed("SELECT 1")));
    }
}
