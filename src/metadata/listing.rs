//! Listing objects and uploads: keyset pages in byte order.
//!
//! Without a delimiter a page is a range of an index. With one it is a skip scan: a recursive query that looks up the next
//! entry, and from a common prefix jumps behind all keys in it, so that a page costs what it returns, not what it folds.

use std::sync::LazyLock;

use super::dialect::{Row, values};
use super::rows::{self, int};
use super::{
    Answer, Error, ListQuery, ListedObject, ListedVersion, Metadata, Page, Result, Upload, UploadId, VersionId,
    versions,
};

/// What is listed: a table whose rows are ordered by `(bucket_id, entry)`, or several as if they were one.
struct Listed {
    flat: String,
    folded: String,
    /// Whether it is several tables.
    merged: bool,
}

/// A table to be listed.
struct Source<'a> {
    table: &'a str,
    /// The column by which its rows are ordered.
    entry: &'a str,
    /// What is shown of a row `o`; the same columns of all tables.
    columns: &'a str,
}

const BUCKET: &str = "(SELECT bucket_id FROM buckets WHERE name = $1)";

impl Listed {
    /// `tail`: bytes of an entry behind its key in which a delimiter could be found.
    fn new(sources: &[Source<'_>], tail: usize) -> Self {
        // `$2` is the first entry that may be shown, `$3` the first that may not, `$4` how many are wanted.
        let range = |source: &Source<'_>, from: &str, columns: &str, limit: &str| {
            let Source { table, entry, .. } = source;
            format!(
                "SELECT * FROM (SELECT o.{entry} AS entry{columns} FROM {table} o WHERE o.bucket_id = {BUCKET} \
                 AND {from} AND o.{entry} < $3 ORDER BY o.{entry} LIMIT {limit}) AS {table}_range"
            )
        };
        let all = |from: &str, limit: &str, with_columns: bool| {
            let ranges = sources.iter().map(|source| {
                let columns = if with_columns { format!(", {}", source.columns) } else { String::new() };
                range(source, &format!("o.{} >= {from}", source.entry), &columns, limit)
            });
            union(ranges.collect(), limit)
        };
        // Where a page begins, the first table may begin elsewhere: at the key `{key}`, which counts only below the place `{place}`.
        let first = |[key, place]: [&str; 2], limit: &str, with_columns: bool| {
            let ranges = sources.iter().enumerate().map(|(number, source)| {
                let columns = if with_columns { format!(", {}", source.columns) } else { String::new() };
                let from = if number == 0 && sources.len() > 1 {
                    format!("o.{0} >= {key} AND (o.{0} > {key} OR o.seq < {place})", source.entry)
                } else {
                    format!("o.{} >= $2", source.entry)
                };
                range(source, &from, &columns, limit)
            });
            union(ranges.collect(), limit)
        };
        let flat = format!(
            "SELECT {BUCKET} AS bucket, listed.* FROM (SELECT 1) AS one LEFT JOIN ({}) AS listed ON 1 = 1 \
             ORDER BY listed.entry",
            first(["$5", "$6"], "$4", true)
        );
        // `$5` is the prefix's length, `$6` the delimiter, `$7` what sorts next after all that starts with the delimiter,
        // `$8` a zero byte. Where the delimiter is in a key behind the prefix, from 1; 0 if it is not:
        let at = format!(
            "instr(substr(scan.entry, CAST($5 AS INTEGER) + 1, length(scan.entry) - {tail} - CAST($5 AS INTEGER)), $6)"
        );
        let next = format!(
            "CAST(CASE WHEN {at} > 0 THEN substr(scan.entry, 1, CAST($5 AS INTEGER) + {at} - 1) || $7 \
             ELSE scan.entry || $8 END AS {{blob}})"
        );
        let scan = format!(
            "WITH RECURSIVE scan(number, entry) AS ( \
                 SELECT CAST(1 AS BIGINT), {first} \
                 UNION ALL \
                 SELECT scan.number + 1, {following} FROM scan WHERE scan.entry IS NOT NULL AND scan.number < $4)",
            first = format_args!("({})", first(["$9", "$10"], "1", false)),
            following = format_args!("({})", all(&next, "1", false)),
        );
        // An entry is in one table; of the others nothing is joined to it.
        let shown = sources.iter().map(|Source { table, entry, columns }| {
            format!(
                "SELECT {BUCKET} AS bucket, scan.number, scan.entry, {columns}, CASE WHEN {at} > 0 THEN \
                 substr(scan.entry, 1, CAST($5 AS INTEGER) + {at} - 1 + length($6)) END AS common \
                 FROM scan {join} {table} o ON o.bucket_id = {BUCKET} AND o.{entry} = scan.entry AND {at} = 0",
                join = if sources.len() == 1 { "LEFT JOIN" } else { "JOIN" },
            )
        });
        let mut shown: Vec<String> = shown.collect();
        if let ([first, ..], true) = (sources, sources.len() > 1) {
            // What is no row of any: common prefixes, and the end.
            let Source { table, columns, .. } = first;
            shown.push(format!(
                "SELECT {BUCKET} AS bucket, scan.number, scan.entry, {columns}, CASE WHEN {at} > 0 THEN \
                 substr(scan.entry, 1, CAST($5 AS INTEGER) + {at} - 1 + length($6)) END AS common \
                 FROM scan LEFT JOIN {table} o ON 0 = 1 WHERE scan.entry IS NULL OR {at} > 0"
            ));
        }
        let folded = format!("{scan} SELECT * FROM ({}) AS shown ORDER BY number", shown.join(" UNION ALL "));
        Self { flat, folded, merged: sources.len() > 1 }
    }
}

/// Ranges of several tables as if they were one.
fn union(ranges: Vec<String>, limit: &str) -> String {
    match ranges.as_slice() {
        [one] => one.clone(),
        _ => format!("SELECT * FROM ({}) AS ranges ORDER BY entry LIMIT {limit}", ranges.join(" UNION ALL ")),
    }
}

/// The columns of [`listed_object`].
const OBJECT: &str =
    "o.key, o.size, o.etag, o.modified, o.checksum_algorithm, o.checksum_type, o.owner, o.storage_class";
/// The same of one that is described. Only then are they read: they are many times as long as the others.
const DESCRIBED: &str = ", o.headers, o.tags";

static OBJECTS: LazyLock<Listed> = LazyLock::new(|| objects(""));
static DESCRIBED_OBJECTS: LazyLock<Listed> = LazyLock::new(|| objects(DESCRIBED));

fn objects(more: &str) -> Listed {
    Listed::new(&[Source { table: "objects", entry: "key", columns: &format!("{OBJECT}{more}") }], 0)
}

/// A zero byte and the upload's id follow the key.
const UPLOAD_TAIL: usize = 33;
static UPLOADS: LazyLock<Listed> = LazyLock::new(|| {
    let columns = rows::UPLOAD.replace("u.", "o.");
    Listed::new(&[Source { table: "uploads", entry: "entry", columns: &columns }], UPLOAD_TAIL)
});

static VERSIONS: LazyLock<Listed> = LazyLock::new(|| versions_too(""));
static DESCRIBED_VERSIONS: LazyLock<Listed> = LazyLock::new(|| versions_too(DESCRIBED));

/// A key's object is listed before its versions: its entry is the key, with which all of theirs begin.
fn versions_too(more: &str) -> Listed {
    let columns = |marker: &str, latest: &str| {
        format!("{OBJECT}, o.version_id, o.seq, {marker} AS marker, {latest} AS latest{more}")
    };
    // Of what is not an object only a delete marker can be the newest of its key. What lies between a key and an entry of it is entries of
    // it, and newer. Rows are looked up one by one: an EXISTS PostgreSQL may answer from a table of all rows.
    let latest = "CAST(CASE WHEN o.marker = 1 \
         AND (SELECT n.seq FROM objects n WHERE n.bucket_id = o.bucket_id AND n.key = o.key) IS NULL \
         AND (SELECT n.seq FROM versions n WHERE n.bucket_id = o.bucket_id AND n.entry > o.key AND n.entry < o.entry \
             ORDER BY n.entry LIMIT 1) IS NULL \
         THEN 1 ELSE 0 END AS BIGINT)";
    let (objects, versions) = (columns("CAST(0 AS BIGINT)", "CAST(1 AS BIGINT)"), columns("o.marker", latest));
    let sources = [
        Source { table: "objects", entry: "key", columns: &objects },
        Source { table: "versions", entry: "entry", columns: &versions },
    ];
    Listed::new(&sources, 0)
}

impl Metadata {
    /// A page of a bucket's objects.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list_objects<'a>(&'a self, query: &'a ListQuery) -> Answer<'a, Page<ListedObject>> {
        Box::pin(async move {
            let listed = if query.described { &DESCRIBED_OBJECTS } else { &OBJECTS };
            let read = |row: &Row| listed_object(row, query.described);
            self.list(listed, query, after_key(&query.after), None, read, |object| (&object.key, None)).await
        })
    }

    /// A page of a bucket's uploads, by key, then by age. `after_upload`: with `after` a key, only its uploads after this
    /// one and later keys.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list_uploads<'a>(
        &'a self,
        query: &'a ListQuery,
        after_upload: Option<&'a UploadId>,
    ) -> Answer<'a, Page<Upload>> {
        Box::pin(async move {
            let after = match after_upload {
                Some(upload) => after_key(&String::from_utf8_lossy(&upload_entry(&query.after, upload))),
                None => after_key(&query.after),
            };
            fn name(upload: &Upload) -> (&String, Option<&str>) {
                (&upload.template.key, Some(&upload.id.0))
            }
            self.list(&UPLOADS, query, after, None, rows::upload, name).await
        })
    }

    /// A page of a bucket's versions and delete markers, by key, then the newest first. `after_version`: with `after` a key, only its
    /// versions after this one and later keys.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list_versions<'a>(
        &'a self,
        query: &'a ListQuery,
        after_version: Option<&'a VersionId>,
    ) -> Answer<'a, Page<ListedVersion>> {
        Box::pin(async move {
            fn name(listed: &ListedVersion) -> (&String, Option<&str>) {
                (&listed.object.key, Some(listed.version.as_str()))
            }
            let listed = if query.described { &DESCRIBED_VERSIONS } else { &VERSIONS };
            let read = |row: &Row| listed_version(row, query.described);
            let Some(version) = after_version else {
                return self.list(listed, query, after_key(&query.after), None, read, name).await;
            };
            let place = match version.seq() {
                Some(place) => Some(place),
                None => self.place_of_null(&query.bucket, &query.after).await?,
            };
            let after = match place {
                Some(place) => [versions::entry(&query.after, place), vec![0]].concat(),
                // What is listed twice is less harm than what never is.
                None => query.after.clone().into_bytes(),
            };
            self.list(listed, query, after, place, read, name).await
        })
    }

    /// The place of a key's null version, whose name does not tell it; `None` if there is none (any more).
    async fn place_of_null(&self, bucket: &str, key: &str) -> Result<Option<i64>> {
        let of = |table: &str| {
            format!(
                "SELECT seq FROM {table} WHERE bucket_id = {BUCKET} AND key = $2 AND COALESCE(version_id, 'null') = 'null'"
            )
        };
        let sql = format!("{} UNION ALL {}", of("objects"), of("versions"));
        let row = self.db.first(&sql, values![bucket, key.as_bytes()]).await?;
        row.map(|row| row.int("seq")).transpose()
    }

    /// A page of what comes from the entry `after` on. `place`: that is behind the version at this place of the key `query.after`. If all
    /// that came after that version are gone, the key's object, which is listed before all of its versions, lies behind it, too:
    /// the statement itself decides it, so that whoever makes a version the object meanwhile does not have it passed over
    /// in both places.
    async fn list<T>(
        &self,
        listed: &Listed,
        query: &ListQuery,
        after: Vec<u8>,
        place: Option<i64>,
        read: impl Fn(&Row) -> Result<T>,
        name: impl Fn(&T) -> (&String, Option<&str>),
    ) -> Result<Page<T>> {
        let prefix = query.prefix.as_bytes();
        // No key holds a zero byte, but entries do: it delimits nothing, and nothing begins with a prefix that has one.
        let delimiter =
            Some(query.delimiter.as_bytes()).filter(|delimiter| !delimiter.contains(&0)).unwrap_or_default();
        let from = match behind_common_prefix(query) {
            Some(behind) => behind,
            None if query.after.is_empty() => prefix.to_vec(),
            None => after.max(prefix.to_vec()),
        };
        let key = query.after.as_bytes();
        let begins_behind_version = |_: &i64| from.starts_with(&[key, &[0]].concat());
        let (first_key, below) = match place.filter(begins_behind_version) {
            Some(place) => (key, place),
            None => (from.as_slice(), i64::MAX),
        };
        let merged = listed.merged;
        let to = if prefix.contains(&0) { from.clone() } else { successor(prefix) };
        // One more than wanted tells whether there is more.
        let wanted = match query.limit {
            0 => 0,
            limit => i64::from(limit) + 1,
        };
        let found = if delimiter.is_empty() || wanted == 0 {
            let values = values![&query.bucket, &from, &to, wanted, first_key, below];
            self.db.query(&listed.flat, if merged { values } else { &values[..4] }).await?
        } else {
            let prefix_len = int(prefix.len() as u64);
            let next = successor(delimiter);
            let zero = [0].as_slice();
            let values =
                values![&query.bucket, &from, &to, wanted, prefix_len, delimiter, &next, zero, first_key, below];
            self.db.query(&listed.folded, if merged { values } else { &values[..8] }).await?
        };
        if found.first().map(|row| row.opt_int("bucket")).transpose()?.flatten().is_none() {
            return Err(Error::NoSuchBucket(query.bucket.clone()));
        }

        let limit = query.limit as usize;
        let mut page =
            Page { entries: Vec::new(), common_prefixes: Vec::new(), truncated: false, next: None, next_of_key: None };
        let mut last = None;
        for row in &found {
            if row.opt_bytes("entry")?.is_none() {
                break;
            }
            if page.entries.len() + page.common_prefixes.len() == limit {
                page.truncated = true;
                break;
            }
            // The flat statement has no such column.
            let common = if delimiter.is_empty() { None } else { row.opt_bytes("common")? };
            match common {
                Some(common) => {
                    let common = String::from_utf8(common)
                        .map_err(|_| Error::Corrupt(format!("a key in bucket {} is not UTF-8", query.bucket)))?;
                    page.common_prefixes.push(common);
                    last = Some(true);
                }
                None => {
                    page.entries.push(read(row)?);
                    last = Some(false);
                }
            }
        }
        if page.truncated {
            match last {
                Some(true) => page.next = page.common_prefixes.last().cloned(),
                _ => {
                    if let Some((key, id)) = page.entries.last().map(&name) {
                        (page.next, page.next_of_key) = (Some(key.clone()), id.map(str::to_owned));
                    }
                }
            }
        }
        Ok(page)
    }
}

fn listed_object(row: &Row, described: bool) -> Result<ListedObject> {
    let describe = || Ok(Box::new((rows::from_json(row, "headers")?, rows::from_json(row, "tags")?)));
    Ok(ListedObject {
        key: row.key("key")?,
        size: row.number("size")?,
        etag: row.text("etag")?,
        modified: row.int("modified")?,
        checksum: rows::checksum_kind(row)?,
        owner: row.text("owner")?,
        storage_class: rows::storage_class(row)?,
        description: described.then(describe).transpose()?,
    })
}

fn listed_version(row: &Row, described: bool) -> Result<ListedVersion> {
    let marker = row.int("marker")? != 0;
    Ok(ListedVersion {
        version: VersionId::of_column(row.opt_text("version_id")?),
        latest: row.int("latest")? != 0,
        marker,
        // Of a delete marker there is nothing to describe.
        object: listed_object(row, described && !marker)?,
    })
}

/// An upload's place in the order of uploads.
pub(super) fn upload_entry(key: &str, upload: &UploadId) -> Vec<u8> {
    [key.as_bytes(), &[0], upload.0.as_bytes()].concat()
}

/// The first entry behind all entries of a key: keys hold no zero byte, but what follows them in an entry begins with one.
fn after_key(key: &str) -> Vec<u8> {
    [key.as_bytes(), &[1]].concat()
}

/// What sorts next after all that starts with `prefix`. UTF-8 has no byte 0xFF.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    match next.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => next.push(0xff),
    }
    next
}

/// If `after` is a common prefix of the listing: the first entry that is not in it.
fn behind_common_prefix(query: &ListQuery) -> Option<Vec<u8>> {
    let rest = query.after.strip_prefix(&query.prefix)?;
    let at = rest.find(&query.delimiter)?;
    let is_common_prefix = !query.delimiter.is_empty() && at + query.delimiter.len() == rest.len();
    is_common_prefix.then(|| successor(query.after.as_bytes()))
}
