//! The log of changes: on its way from commits to the volumes, and back into a database that is restored.

use std::collections::HashSet;
use std::sync::Arc;

use super::dialect::{ChangeLog, ChangeRecord, Tx};
use super::{Answer, Cell, Error, Kind, Metadata, Restoration, Result, Table, dump};

/// What commits changed, for whoever writes it to the volumes.
#[derive(Debug, Clone)]
pub struct ChangeFeed(Arc<ChangeLog>);

impl ChangeFeed {
    /// Waits until something was committed.
    pub async fn wait(&self) {
        self.0.wake.notified().await;
    }

    /// What was committed and not taken yet, in order; and whether something before it was lost, because nobody took it in time.
    pub fn take(&self) -> (Vec<ChangeRecord>, bool) {
        self.0.take()
    }

    /// From now on, or no longer, a commit is answered only once it was written.
    pub fn hold_answers(&self, hold: bool) {
        self.0.hold_answers(hold);
    }

    /// Says that everything up to this number was written.
    pub fn set_written(&self, seq: u64) {
        self.0.set_written(seq);
    }

    /// Gives back what could not be written.
    pub fn put_back(&self, records: Vec<ChangeRecord>) {
        self.0.put_back(records);
    }
}

impl Metadata {
    /// From now on what is committed is logged, for the answer to take; `None` where the database keeps logs of its own.
    pub fn log_changes(&self) -> Answer<'_, Option<ChangeFeed>> {
        Box::pin(async move { Ok(self.db.log_changes().await?.map(ChangeFeed)) })
    }

    /// The life that logged transactions are of: whatever a restored database logs is of another.
    pub fn log_life(&self) -> Answer<'_, String> {
        Box::pin(async move {
            let row = self.db.first("SELECT log_life FROM deployment", &[]).await?;
            row.ok_or_else(|| Error::Corrupt("the table deployment is empty".into()))?.text("log_life")
        })
    }
}

/// A row that was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Of which table.
    pub table: &'static Table,
    /// What it is now, in the table's columns; `None` if it is no more.
    pub row: Option<Vec<Cell>>,
    /// Its primary key.
    pub key: Vec<Cell>,
}

/// A key, or a row, as a trigger notes it.
type Noted = Option<Vec<serde_json::Value>>;

/// Reads the rows of a [`ChangeRecord`].
///
/// # Errors
/// [`Error::Corrupt`] if they are none that this program writes.
pub fn read_changes(rows: &str) -> Result<Vec<Change>> {
    let wrong = |what: &str| Error::Corrupt(format!("a logged change: {what}"));
    let rows: Vec<(String, Noted, Noted)> = serde_json::from_str(rows).map_err(|error| wrong(&error.to_string()))?;
    let mut changes = Vec::with_capacity(rows.len());
    for (name, key, row) in rows {
        let table = Table::of(&name).ok_or_else(|| wrong(&format!("there is no table {name}")))?;
        let cells = |values: Vec<serde_json::Value>| -> Result<Vec<Cell>> {
            values.into_iter().zip(table.columns).map(|(value, (_, kind))| cell(value, *kind)).collect()
        };
        let (row, key) = (row.map(cells).transpose()?, key.map(cells).transpose()?);
        if row.as_ref().is_some_and(|row| row.len() != table.columns.len()) {
            return Err(wrong(&format!("a row of {name} has other columns")));
        }
        let key = key.or_else(|| row.as_ref().map(|row| row.iter().take(table.key).cloned().collect()));
        let key = key.filter(|key| key.len() == table.key).ok_or_else(|| wrong("it has no key"))?;
        changes.push(Change { table, row, key });
    }
    Ok(changes)
}

fn cell(value: serde_json::Value, kind: Kind) -> Result<Cell> {
    use serde_json::Value;
    let wrong = || Error::Corrupt("a logged change has a value of another kind".into());
    Ok(match (value, kind) {
        (Value::Null, _) => Cell::Null,
        (Value::Number(number), Kind::Int) => Cell::Int(number.as_i64().ok_or_else(wrong)?),
        (Value::Number(number), Kind::Float) => Cell::Float(number.as_f64().ok_or_else(wrong)?),
        (Value::String(text), Kind::Text) => Cell::Text(text),
        (Value::String(text), Kind::Bytes) => Cell::Bytes(hex::decode(text).map_err(|_| wrong())?),
        _ => return Err(wrong()),
    })
}

impl Restoration {
    /// Does again what a transaction did.
    ///
    /// # Errors
    /// The database's.
    pub fn replay<'a>(&'a mut self, changes: &'a [Change]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut rest = changes;
            while let Some(first) = rest.first() {
                // What goes in one statement: the same is done to rows of one table, each once.
                let mut keys = HashSet::new();
                let alike = |change: &&Change| {
                    change.table == first.table
                        && change.row.is_some() == first.row.is_some()
                        && keys.insert(format!("{:?}", change.key))
                };
                let (run, behind) = rest.split_at(rest.iter().take_while(alike).count());
                apply(&mut self.tx, run).await?;
                rest = behind;
            }
            Ok(())
        })
    }
}

async fn apply(tx: &mut Tx, run: &[Change]) -> Result<()> {
    let Some(first) = run.first() else { return Ok(()) };
    let rows: Vec<Vec<Cell>> = run.iter().filter_map(|change| change.row.clone()).collect();
    if rows.is_empty() {
        let keys: Vec<Vec<Cell>> = run.iter().map(|change| change.key.clone()).collect();
        dump::delete(tx, first.table, &keys).await
    } else {
        let columns: Vec<&str> = first.table.columns.iter().map(|(name, _)| *name).collect();
        dump::upsert(tx, first.table, &columns, &rows).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn changes_are_read_as_they_are_noted_and_nothing_else_is() {
        let text = r#"[["data",[7],null],["data",null,[7,1,100]],["bucket_configs",null,[3,"tagging","{}"]]]"#;
        let changes = read_changes(text).unwrap();
        assert_eq!((changes[0].key.clone(), changes[0].row.clone()), (vec![Cell::Int(7)], None));
        assert_eq!(changes[1].row, Some(vec![Cell::Int(7), Cell::Int(1), Cell::Int(100)]));
        assert_eq!(changes[2].key, [Cell::Int(3), Cell::Text("tagging".into())]);
        for bad in [
            "",
            "[[\"nothing\",[1],null]]",
            "[[\"data\",null,[1]]]",
            "[[\"data\",null,null]]",
            "[[\"data\",[\"x\"],null]]",
        ] {
            assert!(read_changes(bad).is_err(), "{bad}");
        }
    }
}
