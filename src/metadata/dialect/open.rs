//! Opening a database: options, checks, migrations.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use sqlx::error::BoxDynError;
use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row as _};

use super::error::{self, Kind};
use super::{ChangeLog, Db, Losses, Server, changes, within};
use crate::metadata::{DatabaseConfig, Error, Result};

/// Forward only: a migration that was released never changes, a new one is added behind it.
const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
    (2, "packed", include_str!("../../../migrations/postgres/0002_packed.sql")),
    (3, "sweep", include_str!("../../../migrations/postgres/0003_sweep.sql")),
    (4, "jobs", include_str!("../../../migrations/postgres/0004_jobs.sql")),
    (5, "snapshots", include_str!("../../../migrations/postgres/0005_snapshots.sql")),
    (6, "bucket_configs", include_str!("../../../migrations/postgres/0006_bucket_configs.sql")),
    (7, "completions", include_str!("../../../migrations/postgres/0007_completions.sql")),
    (8, "change_log", include_str!("../../../migrations/postgres/0008_change_log.sql")),
    (9, "versions", include_str!("../../../migrations/postgres/0009_versions.sql")),
    (10, "access", include_str!("../../../migrations/postgres/0010_access.sql")),
    (11, "identities", include_str!("../../../migrations/postgres/0011_identities.sql")),
    (12, "renames", include_str!("../../../migrations/postgres/0012_renames.sql")),
    (13, "quotas", include_str!("../../../migrations/postgres/0013_quotas.sql")),
    (14, "group_status", include_str!("../../../migrations/postgres/0014_group_status.sql")),
];
const SQLITE: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    (2, "packed", include_str!("../../../migrations/sqlite/0002_packed.sql")),
    (3, "sweep", include_str!("../../../migrations/sqlite/0003_sweep.sql")),
    (4, "jobs", include_str!("../../../migrations/sqlite/0004_jobs.sql")),
    (5, "snapshots", include_str!("../../../migrations/sqlite/0005_snapshots.sql")),
    (6, "bucket_configs", include_str!("../../../migrations/sqlite/0006_bucket_configs.sql")),
    (7, "completions", include_str!("../../../migrations/sqlite/0007_completions.sql")),
    (8, "change_log", include_str!("../../../migrations/sqlite/0008_change_log.sql")),
    (9, "versions", include_str!("../../../migrations/sqlite/0009_versions.sql")),
    (10, "access", include_str!("../../../migrations/sqlite/0010_access.sql")),
    (11, "identities", include_str!("../../../migrations/sqlite/0011_identities.sql")),
    (12, "renames", include_str!("../../../migrations/sqlite/0012_renames.sql")),
    (13, "quotas", include_str!("../../../migrations/sqlite/0013_quotas.sql")),
    (14, "group_status", include_str!("../../../migrations/sqlite/0014_group_status.sql")),
];

/// The oldest PostgreSQL that will do, as `server_version_num` has it.
const POSTGRES_SINCE: i32 = 130_000;
/// How long the migrations may take, or wait for another server's.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(600);
/// A connection that was idle so long is tested before it is used.
const TEST_IDLE: Duration = Duration::from_millis(500);
/// Added to the server's own time-outs, so that normally the server speaks first.
const SLACK: Duration = Duration::from_secs(3);
/// SQLite readers are threads: more of them than this gain nothing.
const SQLITE_READERS: u32 = 8;

impl Db {
    /// Connects, checks that the database is one to trust data to, and brings its tables up to date.
    pub(crate) async fn open(config: &DatabaseConfig) -> Result<Self> {
        if let Some(path) = config.url.strip_prefix("sqlite:") {
            open_sqlite(config, Path::new(path.strip_prefix("//").unwrap_or(path))).await
        } else if config.url.starts_with("postgres://") || config.url.starts_with("postgresql://") {
            open_postgres(config).await
        } else {
            // The URL may hold a password.
            Err(Error::Unusable("its URL starts with neither postgres:// nor sqlite:".into()))
        }
    }
}

async fn open_postgres(config: &DatabaseConfig) -> Result<Db> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|error| Error::Unusable(format!("its URL cannot be read: {error}")))?
        .application_name("ninefold")
        .disable_statement_logging();

    let connecting = within(config.connect_timeout, options.connect());
    let mut connection = connecting.await.map_err(|error| match &error {
        // A wrong password, database or role does not mend itself.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| matches!(code.get(..2), Some("28" | "3D"))) =>
        {
            Error::Unusable(error.to_string())
        }
        _ => Error::Unavailable(error.to_string()),
    })?;
    check_postgres(&mut connection).await?;
    within(MIGRATION_PATIENCE, async { Ok(migrate(&mut connection, POSTGRES).await) })
        .await
        .map_err(error::refused)??;
    // What was migrated stays so, whatever the goodbye is answered with.
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the connection of the migrations");
    }

    let statement = config.statement_timeout;
    let session = session_settings(statement);
    let losses = Arc::new(Losses::new());
    let suspicious = losses.clone();
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections.max(1))
        .acquire_timeout(config.connect_timeout)
        .idle_timeout(Duration::from_secs(600))
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let test = meta.idle_for > TEST_IDLE || suspicious.suspects(meta.idle_for);
            async move {
                if test {
                    connection.ping().await?;
                }
                Ok(true)
            }
            .boxed()
        })
        .after_connect(move |connection, _| {
            let session = session.clone();
            async move { sqlx::query(&session).persistent(false).fetch_one(connection).await.map(|_| ()) }.boxed()
        })
        .connect_lazy_with(options);
    Ok(Db::Postgres(Server { pool, patience: statement + SLACK, losses }))
}

/// An instance that stops in the middle of a transaction holds its locks no longer than this at least ...
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// ... and than this part of the time that others wait for them.
const IDLE_SHARE: u32 = 3;

/// Settings of each session. `synchronous_commit` is never weaker than `on`, whatever the server's default. Statements here
/// take less time than compiling them would.
fn session_settings(statement: Duration) -> String {
    let idle = (statement / IDLE_SHARE).max(IDLE_IN_TRANSACTION).as_millis().min(i32::MAX as u128 / 2);
    let statement = statement.as_millis().clamp(1, i32::MAX as u128 / 2);
    format!(
        "SELECT set_config('synchronous_commit', \
           CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), \
         set_config('default_transaction_isolation', 'read committed', false), \
         set_config('jit', 'off', false), \
         set_config('statement_timeout', '{statement}', false), \
         set_config('lock_timeout', '{statement}', false), \
         set_config('idle_in_transaction_session_timeout', '{idle}', false)"
    )
}

async fn check_postgres(connection: &mut PgConnection) -> Result<()> {
    let sql = "SELECT CAST(current_setting('server_version_num') AS INTEGER) AS number, \
               current_setting('server_version') AS version, current_setting('fsync') AS fsync, \
               current_setting('server_encoding') AS encoding";
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(error::refused)?;
    let get = |column: &str| row.try_get::<String, _>(column).map_err(error::refused);
    let number: i32 = row.try_get("number").map_err(error::refused)?;
    if number < POSTGRES_SINCE {
        return Err(Error::Unusable(format!(
            "it is PostgreSQL {}, and 13 is the oldest that will do",
            get("version")?
        )));
    }
    if get("fsync")? != "on" {
        return Err(Error::Unusable(
            "it runs with fsync=off and may lose what it confirmed; set fsync=on and restart it".into(),
        ));
    }
    if get("encoding")? != "UTF8" {
        return Err(Error::Unusable(format!("its encoding is {}, not UTF8", get("encoding")?)));
    }
    Ok(())
}

async fn open_sqlite(config: &DatabaseConfig, path: &Path) -> Result<Db> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(config.statement_timeout)
        .disable_statement_logging();
    let patience = config.statement_timeout + SLACK;

    let log = Arc::new(ChangeLog::default());
    let of_connections = Arc::clone(&log);
    let writer = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(1)
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            // One that takes the place of another goes on with the log.
            let log = of_connections.is_on();
            async move { if log { changes::arm(connection).await } else { Ok(()) } }.boxed()
        });
    let deadline = Instant::now() + patience;
    let write = loop {
        match writer.clone().connect_with(options.clone()).await {
            Ok(write) => break write,
            // While another process turns the file to WAL, SQLite refuses at once instead of waiting.
            Err(error) if error::kind(&error) == Kind::Contention && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(Error::Unusable(format!("{}: {error}", path.display()))),
        }
    };
    // One transaction around all of it: another process waits, and finds the work done.
    let mut tx = write.begin_with("BEGIN IMMEDIATE").await.map_err(error::refused)?;
    migrate(&mut *tx, SQLITE).await?;
    tx.commit().await.map_err(error::refused)?;

    let read = SqlitePoolOptions::new()
        .max_connections(config.max_connections.clamp(1, SQLITE_READERS))
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Db::Sqlite { read, write, patience, log })
}

#[derive(Debug)]
struct Embedded(&'static [(i64, &'static str, &'static str)]);

impl MigrationSource<'static> for Embedded {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into(), false)
        };
        std::future::ready(Ok(self.0.iter().map(migration).collect())).boxed()
    }
}

async fn migrate(
    connection: &mut impl sqlx::migrate::Migrate,
    migrations: &'static [(i64, &'static str, &'static str)],
) -> Result<()> {
    let failed = |error: MigrateError| match error {
        MigrateError::VersionMissing(version) => Error::Unusable(format!(
            "its tables are of version {version}, newer than this program, which knows {}; use a newer program",
            migrations.last().map_or(0, |last| last.0)
        )),
        MigrateError::VersionMismatch(version) => {
            Error::Unusable(format!("version {version} of its tables was made by a different program"))
        }
        MigrateError::Execute(error) => error::refused(error),
        other => Error::Unusable(other.to_string()),
    };
    let migrator = Migrator::new(Embedded(migrations)).await.map_err(failed)?;
    // What `run` calls; with it, the future could not be sent to another thread.
    migrator.run_direct(connection).await.map_err(failed)
}
