//! Which tables snapshots are made of.

use ninefold::metadata::TABLES;

use crate::fixture::{Fixture, Raw, on_both};

/// What belongs to running processes, to files that go, and to healing, and when keys were used; and the migrations' own.
const LEFT_OUT: [&str; 11] = [
    "access_generation",
    "instances",
    "id_ranges",
    "range_sweeps",
    "leases",
    "commits",
    "pending_deletes",
    "heal_queue",
    "jobs",
    "volume_reports",
    "key_uses",
];

/// Whoever adds a table or a column says whether it is in snapshots.
async fn every_column_is_in_snapshots(f: &Fixture) {
    let (tables, columns): (&str, fn(&str) -> String) = match f.raw {
        Raw::Postgres(_) => (
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
            |table| format!("SELECT COUNT(*) FROM information_schema.columns WHERE table_name = '{table}'"),
        ),
        Raw::Sqlite(_) => (
            "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
            |table| format!("SELECT COUNT(*) FROM pragma_table_info('{table}')"),
        ),
    };
    assert_eq!(f.raw.int(tables).await, (TABLES.len() + LEFT_OUT.len()) as i64);
    for table in TABLES {
        assert_eq!(f.raw.int(&columns(table.name)).await, table.columns.len() as i64, "columns of {}", table.name);
    }
}

/// A dump shows one moment, whatever is committed while it is read.
async fn a_dump_shows_one_moment(f: &Fixture) {
    f.meta.deployment("deployment").await.unwrap();
    for i in 0..5 {
        f.commit(&format!("before-{i}"), &[10]).await;
    }
    let mut dump = f.meta.begin_dump().await.unwrap();
    f.commit("after", &[10]).await;
    let mut objects = 0;
    while let Some(page) = dump.page().await.unwrap() {
        if page.table.name == "objects" {
            objects += page.rows.len();
        }
    }
    assert_eq!(objects, 5);
}

on_both!(every_column_is_in_snapshots, a_dump_shows_one_moment);
