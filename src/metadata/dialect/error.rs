//! What a database's refusal means.

use std::time::Duration;

use crate::metadata::{Error, Result};

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Others were in the way: the same transaction may succeed if it is run again.
    Contention,
    /// The connection is of no more use; whether the last statement ran is unknown.
    Lost,
    /// The database cannot do it now.
    Busy,
    /// The statement is wrong, or breaks a constraint.
    Refused,
}

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => sqlite(&code),
            Some(code) => postgres(&code),
            None => Kind::Refused,
        },
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Kind::Lost,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::BeginFailed => Kind::Busy,
        _ => Kind::Refused,
    }
}

fn postgres(code: &str) -> Kind {
    match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Kind::Contention,
        // admin_shutdown, crash_shutdown, idle_in_transaction_session_timeout, idle_session_timeout
        "57P01" | "57P02" | "25P03" | "57P05" => Kind::Lost,
        // cannot_connect_now, query_canceled (statement_timeout), lock_not_available, read_only_sql_transaction
        "57P03" | "57014" | "55P03" | "25006" => Kind::Busy,
        _ => match code.get(..2) {
            // connection exceptions
            Some("08") => Kind::Lost,
            // authorisation (a password changed under a running server), insufficient resources, system errors
            Some("28" | "53" | "58") => Kind::Busy,
            _ => Kind::Refused,
        },
    }
}

fn sqlite(code: &str) -> Kind {
    // The low byte is the primary code.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED
        Ok(5 | 6) => Kind::Contention,
        // READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
        Ok(8 | 9 | 10 | 13 | 14 | 15) => Kind::Busy,
        _ => Kind::Refused,
    }
}

/// The error of a statement, as the callers of the store's metadata see it. Contention stays as it is, for [`retrying`].
pub(super) fn refused(error: sqlx::Error) -> Error {
    match kind(&error) {
        Kind::Lost | Kind::Busy => Error::Unavailable(error.to_string()),
        Kind::Contention | Kind::Refused => Error::Sql(error.into()),
    }
}

/// Whether a transaction failed because others were in its way.
fn contention(error: &Error) -> bool {
    matches!(error, Error::Sql(error) if kind(error) == Kind::Contention)
}

/// Pauses before a transaction that others were in the way of is run again, in milliseconds.
const PAUSES: [u64; 6] = [2, 10, 30, 80, 200, 500];

/// Runs a whole transaction, and again if it lost against others.
pub(crate) async fn retrying<T, F: Future<Output = Result<T>>>(mut transaction: impl FnMut() -> F) -> Result<T> {
    for pause in PAUSES {
        match transaction().await {
            Err(error) if contention(&error) => {
                // Those who met once should not meet again.
                let [jitter] = crate::clock::random_bytes::<1>();
                tokio::time::sleep(Duration::from_millis(pause + pause * u64::from(jitter) / 256)).await;
            }
            other => return other,
        }
    }
    match transaction().await {
        Err(error) if contention(&error) => Err(Error::Unavailable(format!("too much contention: {error}"))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_mean_the_same() {
        assert_eq!(postgres("40P01"), Kind::Contention);
        assert_eq!(postgres("08006"), Kind::Lost);
        assert_eq!(postgres("53300"), Kind::Busy);
        assert_eq!(postgres("23505"), Kind::Refused);
        // SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_FSYNC, SQLITE_CONSTRAINT_UNIQUE
        assert_eq!(sqlite("517"), Kind::Contention);
        assert_eq!(sqlite("1034"), Kind::Busy);
        assert_eq!(sqlite("2067"), Kind::Refused);
    }
}
