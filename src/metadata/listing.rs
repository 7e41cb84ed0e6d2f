//! Listing objects and uploads: keyset pages in byte order.
//!
//! Without a delimiter a page is a range of an index. With one it is a skip scan: a recursive query that looks up the next
//! entry, and from a common prefix jumps behind all keys in it, so that a page costs what it returns, not what it folds.

use std::sync::LazyLock;

use super::dialect::{Row, values};
use super::rows::{self, int};
use super::{Answer, Error, ListQuery, ListedObject, Metadata, Page, Result, Upload, UploadId};

/// What is listed: a table whose rows are ordered by `(bucket_id, entry)`.
struct Listed {
    flat: String,
    folded: String,
    /// Bytes of an entry behind its key.
    tail: usize,
}

impl Listed {
    fn new(table: &str, entry: &str, columns: &str, tail: usize) -> Self {
        let bucket = "(SELECT bucket_id FROM buckets WHERE name = $1)";
        // `$2` is the first entry that may be shown, `$3` the first that may not, `$4` how many are wanted.
        let flat = format!(
            "SELECT {bucket} AS bucket, listed.* FROM (SELECT 1) AS one LEFT JOIN \
             (SELECT o.{entry} AS entry, {columns} FROM {table} o \
             WHERE o.bucket_id = {bucket} AND o.{entry} >= $2 AND o.{entry} < $3 ORDER BY o.{entry} LIMIT $4) \
             AS listed ON 1 = 1 ORDER BY listed.entry"
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
        let step = |from: &str| {
            format!(
                "(SELECT o.{entry} FROM {table} o WHERE o.bucket_id = {bucket} AND o.{entry} >= {from} \
                 AND o.{entry} < $3 ORDER BY o.{entry} LIMIT 1)"
            )
        };
        let folded = format!(
            "WITH RECURSIVE scan(number, entry) AS ( \
                 SELECT CAST(1 AS BIGINT), {first} \
                 UNION ALL \
                 SELECT scan.number + 1, {following} FROM scan WHERE scan.entry IS NOT NULL AND scan.number < $4) \
             SELECT {bucket} AS bucket, scan.entry, {columns}, \
                 CASE WHEN {at} > 0 THEN substr(scan.entry, 1, CAST($5 AS INTEGER) + {at} - 1 + length($6)) END AS common \
             FROM scan LEFT JOIN {table} o ON o.bucket_id = {bucket} AND o.{entry} = scan.entry AND {at} = 0 \
             ORDER BY scan.number",
            first = step("$2"),
            following = step(&next),
        );
        Self { flat, folded, tail }
    }
}

static OBJECTS: LazyLock<Listed> = LazyLock::new(|| {
    let columns = "o.key, o.size, o.etag, o.modified, o.checksum_algorithm, o.checksum_type, o.owner";
    Listed::new("objects", "key", columns, 0)
});

/// A zero byte and the upload's id follow the key.
const UPLOAD_TAIL: usize = 33;
static UPLOADS: LazyLock<Listed> =
    LazyLock::new(|| Listed::new("uploads", "entry", &rows::UPLOAD.replace("u.", "o."), UPLOAD_TAIL));

impl Metadata {
    /// A page of a bucket's objects.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list_objects<'a>(&'a self, query: &'a ListQuery) -> Answer<'a, Page<ListedObject>> {
        Box::pin(async move {
            self.list(&OBJECTS, query, after_key(&query.after), listed_object, |object| (&object.key, None)).await
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
            self.list(&UPLOADS, query, after, rows::upload, |upload| (&upload.template.key, Some(&upload.id))).await
        })
    }

    async fn list<T>(
        &self,
        listed: &Listed,
        query: &ListQuery,
        after: Vec<u8>,
        read: impl Fn(&Row) -> Result<T>,
        name: impl Fn(&T) -> (&String, Option<&UploadId>),
    ) -> Result<Page<T>> {
        let (prefix, delimiter) = (query.prefix.as_bytes(), query.delimiter.as_bytes());
        let from = match behind_common_prefix(query) {
            Some(behind) => behind,
            None if query.after.is_empty() => prefix.to_vec(),
            None => after.max(prefix.to_vec()),
        };
        let to = successor(prefix);
        // One more than wanted tells whether there is more.
        let wanted = match query.limit {
            0 => 0,
            limit => i64::from(limit) + 1,
        };
        let found = if query.delimiter.is_empty() || wanted == 0 {
            self.db.query(&listed.flat, values![&query.bucket, &from, &to, wanted]).await?
        } else {
            let prefix_len = int(prefix.len() as u64);
            let next = successor(delimiter);
            let values = values![&query.bucket, &from, &to, wanted, prefix_len, delimiter, &next, [0].as_slice()];
            self.db.query(&listed.folded, values).await?
        };
        if found.first().map(|row| row.opt_int("bucket")).transpose()?.flatten().is_none() {
            return Err(Error::NoSuchBucket(query.bucket.clone()));
        }

        let limit = query.limit as usize;
        let mut page =
            Page { entries: Vec::new(), common_prefixes: Vec::new(), truncated: false, next: None, next_upload: None };
        let mut last = None;
        for row in &found {
            let Some(entry) = row.opt_bytes("entry")? else { break };
            if page.entries.len() + page.common_prefixes.len() == limit {
                page.truncated = true;
                break;
            }
            // The flat statement has no such column.
            let common = if query.delimiter.is_empty() { None } else { row.opt_bytes("common")? };
            match common {
                Some(common) => {
                    let common = String::from_utf8(common)
                        .map_err(|_| Error::Corrupt(format!("a key in bucket {} is not UTF-8", query.bucket)))?;
                    page.common_prefixes.push(common);
                    last = Some(true);
                }
                None => {
                    debug_assert!(entry.len() >= listed.tail);
                    page.entries.push(read(row)?);
                    last = Some(false);
                }
            }
        }
        if page.truncated {
            match last {
                Some(true) => page.next = page.common_prefixes.last().cloned(),
                _ => {
                    if let Some((key, upload)) = page.entries.last().map(&name) {
                        (page.next, page.next_upload) = (Some(key.clone()), upload.cloned());
                    }
                }
            }
        }
        Ok(page)
    }
}

fn listed_object(row: &Row) -> Result<ListedObject> {
    Ok(ListedObject {
        key: row.key("key")?,
        size: row.number("size")?,
        etag: row.text("etag")?,
        modified: row.int("modified")?,
        checksum: rows::checksum_kind(row)?,
        owner: row.text("owner")?,
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
