//! Holding a transaction of the code still at a chosen point, on PostgreSQL: another session holds the lock that it needs
//! next, and is asked whether it waits.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::fixture::*;

/// A session of the test's own.
pub struct Session(PgConnection);

impl Session {
    pub async fn new(f: &Fixture) -> Self {
        Self(PgConnection::connect(&f.config.url).await.unwrap())
    }

    /// Begins a transaction with a statement that locks.
    pub async fn lock(f: &Fixture, sql: &str) -> Self {
        let mut session = Self::new(f).await;
        session.run("BEGIN").await;
        session.run(sql).await;
        session
    }

    pub async fn run(&mut self, sql: &str) -> u64 {
        self.0.execute(sql).await.unwrap().rows_affected()
    }

    /// The error code with which a statement is refused.
    pub async fn refused(&mut self, sql: &str) -> String {
        match self.0.execute(sql).await {
            Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn commit(mut self) {
        self.run("COMMIT").await;
    }

    pub async fn roll_back(mut self) {
        self.run("ROLLBACK").await;
    }
}

/// Returns once so many sessions of the database wait for a lock.
pub async fn waiting(f: &Fixture, sessions: i64) {
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut asked = 0;
    loop {
        let found = f.raw.int(sql).await;
        if found == sessions {
            return;
        }
        asked += 1;
        assert!(asked < 1000, "{found} sessions wait for a lock, not {sessions}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// SQL that inserts a chunk: uncommitted, it holds up whoever inserts the same one, after its locks on keys.
pub fn same_chunk(data: &ninefold::layout::NewData) -> String {
    let id = hex::encode(data.chunks[0].id.to_bytes());
    format!("INSERT INTO chunks (chunk_id, state, slots, missing, len, live) VALUES ('\\x{id}', 'sealed', '', 0, 1, 1)")
}
