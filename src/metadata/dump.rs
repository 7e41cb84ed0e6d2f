//! The tables of which snapshots are made, and their rows as values that either database takes.
//!
//! What belongs to the running processes (instances, leases, id ranges, jobs, reports), to files to be removed, and to healing is not in
//! it: a restored store makes its own, from what it finds on the volumes.

use super::dialect::{Column, Row, Tx, Value};
use super::{Answer, Error, Metadata, Result};
use crate::clock::Millis;

/// The newest version of the tables that this program knows; a dump of a newer one is refused.
pub const SCHEMA: u32 = 14;

/// Rows in one page.
const PAGE: i64 = 2000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A table of which snapshots are made.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many columns, from the first, are its primary key.
    pub key: usize,
    /// Its columns.
    pub columns: &'static [(&'static str, Kind)],
}

use Kind::{Bytes, Float, Int, Text};

/// The tables, those that others refer to first.
pub const TABLES: &[Table] = &[
    Table {
        name: "deployment",
        key: 1,
        columns: &[
            ("one", Int),
            ("id", Text),
            ("last_seq", Int),
            ("last_slot", Int),
            ("log_seq", Int),
            ("log_life", Text),
        ],
    },
    Table {
        name: "volumes",
        key: 1,
        columns: &[
            ("slot", Int),
            ("id", Text),
            ("path", Text),
            ("node", Text),
            ("zone", Text),
            ("region", Text),
            ("weight", Float),
            ("capacity", Int),
            ("draining", Int),
            ("formatted", Int),
            ("epoch", Int),
            ("by_command", Int),
        ],
    },
    Table { name: "removed_volumes", key: 1, columns: &[("id", Text)] },
    Table {
        name: "buckets",
        key: 1,
        columns: &[
            ("bucket_id", Int),
            ("name", Text),
            ("created", Int),
            ("region", Text),
            ("owner", Text),
            ("versioning", Text),
            ("object_lock", Text),
            ("bucket_quota", Int),
            ("account_quota", Int),
        ],
    },
    Table {
        name: "quotas",
        key: 1,
        columns: &[
            ("quota_id", Int),
            ("bucket_id", Int),
            ("canonical_id", Text),
            ("max_bytes", Int),
            ("max_objects", Int),
            ("bytes", Int),
            ("objects", Int),
            ("counting", Int),
        ],
    },
    Table { name: "bucket_configs", key: 2, columns: &[("bucket_id", Int), ("kind", Text), ("body", Text)] },
    Table {
        name: "completions",
        key: 1,
        columns: &[
            ("upload_id", Text),
            ("bucket_id", Int),
            ("key", Bytes),
            ("etag", Text),
            ("size", Int),
            ("checksum_algorithm", Text),
            ("checksum_type", Text),
            ("checksum", Text),
            ("at", Int),
            ("version_id", Text),
        ],
    },
    Table { name: "renames", key: 2, columns: &[("bucket_id", Int), ("token", Text), ("request", Bytes), ("at", Int)] },
    Table {
        name: "chunks",
        key: 1,
        columns: &[
            ("chunk_id", Bytes),
            ("state", Text),
            ("slots", Text),
            ("missing", Int),
            ("len", Int),
            ("live", Int),
            ("died_at", Int),
            ("packed", Int),
            ("file_end", Int),
        ],
    },
    Table { name: "data", key: 1, columns: &[("data_id", Int), ("refs", Int), ("len", Int)] },
    Table {
        name: "extents",
        key: 2,
        columns: &[
            ("data_id", Int),
            ("start", Int),
            ("chunk_id", Bytes),
            ("position", Int),
            ("stripe_len", Int),
            ("skip", Int),
            ("len", Int),
        ],
    },
    Table {
        name: "data_parts",
        key: 2,
        columns: &[("data_id", Int), ("number", Int), ("start", Int), ("size", Int), ("checksum", Text)],
    },
    Table {
        name: "objects",
        key: 2,
        columns: &[
            ("bucket_id", Int),
            ("key", Bytes),
            ("version_id", Text),
            ("seq", Int),
            ("size", Int),
            ("etag", Text),
            ("modified", Int),
            ("checksum_algorithm", Text),
            ("checksum_type", Text),
            ("checksum", Text),
            ("owner", Text),
            ("headers", Text),
            ("tags", Text),
            ("parts", Int),
            ("data_id", Int),
            ("chunk_id", Bytes),
            ("position", Int),
            ("stripe_len", Int),
            ("skip", Int),
            ("object_lock", Text),
            ("acl", Text),
            ("storage_class", Text),
        ],
    },
    Table {
        name: "versions",
        key: 2,
        columns: &[
            ("bucket_id", Int),
            ("entry", Bytes),
            ("key", Bytes),
            ("version_id", Text),
            ("seq", Int),
            ("marker", Int),
            ("size", Int),
            ("etag", Text),
            ("modified", Int),
            ("checksum_algorithm", Text),
            ("checksum_type", Text),
            ("checksum", Text),
            ("owner", Text),
            ("headers", Text),
            ("tags", Text),
            ("parts", Int),
            ("data_id", Int),
            ("chunk_id", Bytes),
            ("position", Int),
            ("stripe_len", Int),
            ("skip", Int),
            ("object_lock", Text),
            ("acl", Text),
            ("storage_class", Text),
        ],
    },
    Table {
        name: "uploads",
        key: 1,
        columns: &[
            ("upload_id", Text),
            ("bucket_id", Int),
            ("key", Bytes),
            ("entry", Bytes),
            ("owner", Text),
            ("headers", Text),
            ("tags", Text),
            ("checksum_algorithm", Text),
            ("checksum_type", Text),
            ("started", Int),
            ("object_lock", Text),
            ("acl", Text),
            ("initiator", Text),
            ("storage_class", Text),
        ],
    },
    Table {
        name: "parts",
        key: 2,
        columns: &[
            ("upload_id", Text),
            ("number", Int),
            ("size", Int),
            ("etag", Text),
            ("checksum_algorithm", Text),
            ("checksum_type", Text),
            ("checksum", Text),
            ("modified", Int),
            ("data_id", Int),
        ],
    },
    Table {
        name: "released",
        key: 1,
        columns: &[("released_id", Int), ("data_id", Int), ("chunk_id", Bytes), ("bytes", Int), ("at", Int)],
    },
    Table {
        name: "snapshots",
        key: 1,
        columns: &[
            ("snapshot_id", Text),
            ("state", Text),
            ("began", Int),
            ("completed", Int),
            ("row_count", Int),
            ("bytes", Int),
            ("data_id", Int),
        ],
    },
    Table {
        name: "identity_state",
        key: 1,
        columns: &[("one", Int), ("generation", Int), ("seal_key", Text), ("seal_check", Text)],
    },
    Table {
        name: "accounts",
        key: 1,
        columns: &[
            ("account_id", Text),
            ("canonical_id", Text),
            ("name", Text),
            ("folded", Text),
            ("email", Text),
            ("public_access_block", Text),
            ("own", Int),
            ("created", Int),
        ],
    },
    Table { name: "removed_accounts", key: 1, columns: &[("canonical_id", Text), ("account_id", Text)] },
    Table {
        name: "policies",
        key: 1,
        columns: &[
            ("policy_id", Text),
            ("account_id", Text),
            ("name", Text),
            ("folded", Text),
            ("path", Text),
            ("description", Text),
            ("default_version", Int),
            ("last_version", Int),
            ("created", Int),
        ],
    },
    Table {
        name: "policy_versions",
        key: 2,
        columns: &[("policy_id", Text), ("version", Int), ("document", Text), ("created", Int)],
    },
    Table {
        name: "principals",
        key: 1,
        columns: &[
            ("principal_id", Text),
            ("account_id", Text),
            ("kind", Text),
            ("name", Text),
            ("folded", Text),
            ("path", Text),
            ("boundary", Text),
            ("tags", Text),
            ("trust", Text),
            ("max_session", Int),
            ("description", Text),
            ("created", Int),
        ],
    },
    Table { name: "memberships", key: 2, columns: &[("group_id", Text), ("user_id", Text)] },
    Table { name: "disabled_groups", key: 1, columns: &[("group_id", Text)] },
    Table { name: "attachments", key: 2, columns: &[("principal_id", Text), ("policy_id", Text)] },
    Table { name: "inline_policies", key: 2, columns: &[("principal_id", Text), ("name", Text), ("document", Text)] },
    Table {
        name: "access_keys",
        key: 1,
        columns: &[
            ("access_key", Text),
            ("account_id", Text),
            ("user_id", Text),
            ("secret", Text),
            ("status", Text),
            ("policy", Text),
            ("description", Text),
            ("expires", Int),
            ("created", Int),
        ],
    },
];

impl Table {
    /// The table of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn key_names(&self) -> String {
        self.columns.iter().take(self.key).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Rows of a table.
#[derive(Debug, Clone)]
pub struct DumpPage {
    /// Of which.
    pub table: &'static Table,
    /// The rows, in its columns' order.
    pub rows: Vec<Vec<Cell>>,
}

/// All tables as they are at one moment, read page by page.
pub struct Dump {
    tx: Tx,
    began: Millis,
    deployment: String,
    tables: std::slice::Iter<'static, Table>,
    table: Option<&'static Table>,
    after: Option<Vec<Cell>>,
}

impl std::fmt::Debug for Dump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump").field("began", &self.began).field("table", &self.table).finish_non_exhaustive()
    }
}

impl Metadata {
    /// Begins to read all tables as they are now. Whoever has it holds a connection, and an old view of the rows, until it ends.
    pub fn begin_dump(&self) -> Answer<'_, Dump> {
        Box::pin(async move {
            // Before the view, so that what had died by then is dead in it, or has no reference left.
            let began = self.now().await?;
            let mut tx = self.db.begin_view().await?;
            // Its first statement is what makes the view.
            let row = tx.first("SELECT id FROM deployment", &[]).await?;
            let id = row.map(|row| row.opt_text("id")).transpose()?.flatten();
            let deployment = id.ok_or_else(|| Error::Corrupt("the deployment has no id".into()))?;
            Ok(Dump { tx, began, deployment, tables: TABLES.iter(), table: None, after: None })
        })
    }
}

impl Dump {
    /// When it began, by the database's clock: before the moment that it shows.
    pub fn began(&self) -> Millis {
        self.began
    }

    /// The deployment's id.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// The next rows; `None` after the last. Tables come in the order of [`TABLES`], their rows in that of their keys.
    pub fn page(&mut self) -> Answer<'_, Option<DumpPage>> {
        Box::pin(async move {
            loop {
                let table = match self.table {
                    Some(table) => table,
                    None => {
                        let Some(table) = self.tables.next() else { return Ok(None) };
                        (self.table, self.after) = (Some(table), None);
                        table
                    }
                };
                let rows = self.rows(table).await?;
                if rows.len() < PAGE as usize {
                    self.table = None;
                } else {
                    self.after = rows.last().map(|row| row.iter().take(table.key).cloned().collect());
                }
                if !rows.is_empty() {
                    return Ok(Some(DumpPage { table, rows }));
                }
            }
        })
    }

    async fn rows(&mut self, table: &'static Table) -> Result<Vec<Vec<Cell>>> {
        let (names, key) = (table.names(), table.key_names());
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut behind = String::new();
        if let Some(after) = &self.after {
            let places: Vec<String> = (1..=after.len()).map(|place| format!("${place}")).collect();
            behind = format!("WHERE ({key}) > ({})", places.join(", "));
            values.extend(after.iter().map(value));
        }
        let sql = format!("SELECT {names} FROM {} {behind} ORDER BY {key} LIMIT {PAGE}", table.name);
        let rows = self.tx.query(&sql, &values).await?;
        rows.iter().map(|row| table.columns.iter().map(|column| cell(row, column)).collect()).collect()
    }
}

fn value(cell: &Cell) -> Value<'_> {
    match cell {
        Cell::Null => Value::OptInt(None),
        Cell::Int(value) => Value::Int(*value),
        Cell::Float(value) => Value::Float(*value),
        Cell::Text(value) => Value::Text(value),
        Cell::Bytes(value) => Value::Bytes(value),
    }
}

fn cell(row: &Row, (name, kind): &(&'static str, Kind)) -> Result<Cell> {
    Ok(match kind {
        Int => row.opt_int(name)?.map_or(Cell::Null, Cell::Int),
        Float => row.opt_float(name)?.map_or(Cell::Null, Cell::Float),
        Text => row.opt_text(name)?.map_or(Cell::Null, Cell::Text),
        Bytes => row.opt_bytes(name)?.map_or(Cell::Null, Cell::Bytes),
    })
}

/// Writes rows of a dump, of which `columns` says what they have, in place of those that are there.
///
/// # Errors
/// [`Error::Corrupt`] if a value is not of its column's kind.
pub(super) async fn upsert(tx: &mut Tx, table: &Table, columns: &[&str], rows: &[Vec<Cell>]) -> Result<()> {
    let given = columns_of(table, columns, rows)?;
    let names = columns.join(", ");
    let input: Vec<String> = columns.iter().map(|name| format!("input.{name}")).collect();
    let is_key = |name: &&&str| table.columns.iter().take(table.key).any(|(key, _)| *key == **name);
    let set: Vec<String> =
        columns.iter().filter(|name| !is_key(name)).map(|name| format!("{name} = excluded.{name}")).collect();
    let then = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
    let sql = format!(
        "INSERT INTO {} ({names}) {{given}} SELECT {} FROM {{input:{}}} WHERE 0 = 0 ON CONFLICT ({}) DO {then}",
        table.name,
        input.join(", "),
        columns.join(","),
        table.key_names(),
    );
    tx.execute_many(&sql, &[], &given).await.map(|_| ())
}

/// Deletes rows by their keys.
pub(super) async fn delete(tx: &mut Tx, table: &Table, keys: &[Vec<Cell>]) -> Result<()> {
    let names: Vec<&str> = table.columns.iter().take(table.key).map(|(name, _)| *name).collect();
    let given = columns_of(table, &names, keys)?;
    let (names, input) = (names.join(","), names.iter().map(|name| format!("input.{name}")).collect::<Vec<_>>());
    let sql =
        format!("DELETE FROM {} WHERE ({names}) IN (SELECT {} FROM {{input:{names}}})", table.name, input.join(", "));
    tx.execute_many(&sql, &[], &given).await.map(|_| ())
}

/// Cells, row by row, as columns.
fn columns_of<'a>(table: &Table, columns: &[&str], rows: &'a [Vec<Cell>]) -> Result<Vec<Column<'a>>> {
    let mut given = Vec::with_capacity(columns.len());
    for (at, name) in columns.iter().enumerate() {
        let kind = table.columns.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| Error::Corrupt(format!("a dump has {}.{name}, which is unknown", table.name)))?;
        let wrong = || Error::Corrupt(format!("a dump's {}.{name} is of another kind", table.name));
        let cells = || rows.iter().map(|row| row.get(at).unwrap_or(&Cell::Null));
        macro_rules! column {
            ($column:ident, $cell:ident, $value:ident => $what:expr) => {
                Column::$column(
                    cells()
                        .map(|cell| match cell {
                            Cell::Null => Ok(None),
                            Cell::$cell($value) => Ok(Some($what)),
                            _ => Err(wrong()),
                        })
                        .collect::<Result<_>>()?,
                )
            };
        }
        given.push(match kind {
            Int => column!(OptInts, Int, value => *value),
            Float => column!(OptFloats, Float, value => *value),
            Text => column!(OptTexts, Text, value => value.as_str()),
            Bytes => column!(OptBytes, Bytes, value => value.as_slice()),
        });
    }
    Ok(given)
}
