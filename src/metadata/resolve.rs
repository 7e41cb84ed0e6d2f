//! Reading: from a key to the bytes' places.

use std::sync::LazyLock;

use super::dialect::values;
use super::rows::{self, int};
use super::{
    Answer, BucketId, Content, DataId, EXTENT_PAGE, Error, ExtentQuery, Metadata, ObjectPart, PartQuery, ReadRange,
    Resolved, Result, VersionId, Versioning, versions,
};
use crate::layout::{ChunkId, PlacedExtent, Placement};

/// One row for each extent, the object's columns in the first; one row without an extent if there is none.
///
/// `$3` is what is wanted: 0 nothing, 1 from byte `$4` to byte `$5` (exclusive), 2 the last `$4` bytes, 3 part `$4`.
/// The page ends where extent number `$6` begins: found in the index, so that no more extents are read than are answered.
const RESOLVE: &str = "\
    WITH found AS ( \
        SELECT b.bucket_id AS bucket, b.versioning, {object}, {marker} AS marker, \
            p.number AS part_number, p.start AS part_start, p.size AS part_size, p.checksum AS part_checksum \
        FROM buckets b \
        LEFT JOIN {source} o ON o.bucket_id = b.bucket_id AND o.key = $2 \
        LEFT JOIN data_parts p ON $3 = 3 AND p.data_id = o.data_id AND p.number = $4 \
        WHERE b.name = $1), \
    wanted AS ( \
        SELECT found.*, \
            CASE $3 WHEN 1 THEN CASE WHEN size < $4 THEN size ELSE $4 END \
                WHEN 2 THEN CASE WHEN size > $4 THEN size - $4 ELSE 0 END \
                WHEN 3 THEN COALESCE(part_start, 0) ELSE 0 END AS wanted_from, \
            CASE $3 WHEN 1 THEN CASE WHEN size < $5 THEN size ELSE $5 END \
                WHEN 2 THEN size \
                WHEN 3 THEN CASE WHEN part_number IS NOT NULL THEN part_start + part_size \
                    WHEN parts IS NULL AND $4 = 1 THEN size ELSE 0 END \
                ELSE 0 END AS wanted_to \
        FROM found), \
    first AS ( \
        SELECT wanted.*, (SELECT x.start FROM extents x \
            WHERE x.data_id = wanted.data_id AND x.start <= wanted.wanted_from ORDER BY x.start DESC LIMIT 1) AS first_start \
        FROM wanted), \
    w AS MATERIALIZED ( \
        SELECT first.*, COALESCE((SELECT x.start FROM extents x \
            WHERE x.data_id = first.data_id AND x.start >= first.first_start AND x.start < first.wanted_to \
            ORDER BY x.start LIMIT 1 OFFSET $6), first.wanted_to) AS page_end \
        FROM first) \
    SELECT w.bucket, w.versioning, w.marker, w.version_id, w.object_lock, w.acl, w.storage_class, w.key, w.size, w.etag, w.modified, w.checksum_algorithm, w.checksum_type, w.checksum, w.owner, \
        CASE WHEN e.start IS NULL OR e.start = w.first_start THEN w.headers END AS headers, \
        CASE WHEN e.start IS NULL OR e.start = w.first_start THEN w.tags END AS tags, \
        w.parts, w.data_id, w.packed, w.packed_position, w.packed_stripe_len, w.packed_skip, w.wanted_from, w.wanted_to, \
        w.part_number, w.part_start, w.part_size, w.part_checksum, \
        {placed_extent} \
    FROM w \
    LEFT JOIN extents e ON e.data_id = w.data_id AND e.start >= w.first_start AND e.start < w.page_end \
        AND w.wanted_from < w.wanted_to \
    LEFT JOIN chunks c ON c.chunk_id = COALESCE(e.chunk_id, w.packed) \
    ORDER BY e.start";

static RESOLVE_SQL: LazyLock<String> = LazyLock::new(|| {
    let sql = RESOLVE.replace("{object}", rows::OBJECT).replace("{placed_extent}", rows::PLACED_EXTENT);
    sql.replace("{source}", "objects").replace("{marker}", "CAST(0 AS BIGINT)")
});

/// The same of version `$7`, wherever it is.
static RESOLVE_VERSION_SQL: LazyLock<String> = LazyLock::new(|| {
    let of = |table: &str, marker: &str| {
        format!(
            "SELECT {table}.bucket_id, {table}.key, {}, {marker} AS marker FROM {table} \
             WHERE bucket_id = (SELECT bucket_id FROM buckets WHERE name = $1) AND key = $2 \
             AND COALESCE(version_id, 'null') = $7",
            versions::columns_of(table)
        )
    };
    let source = format!("({} UNION ALL {})", of("objects", "CAST(0 AS BIGINT)"), of("versions", "marker"));
    let sql = RESOLVE.replace("{object}", rows::OBJECT).replace("{placed_extent}", rows::PLACED_EXTENT);
    sql.replace("{source}", &source).replace("{marker}", "o.marker")
});

static EXTENTS_SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM extents e JOIN chunks c ON c.chunk_id = e.chunk_id \
         WHERE e.data_id = $1 AND e.start < $3 AND e.start >= \
         (SELECT x.start FROM extents x WHERE x.data_id = $1 AND x.start <= $2 ORDER BY x.start DESC LIMIT 1) \
         ORDER BY e.start LIMIT $4",
        rows::PLACED_EXTENT
    )
});

impl Metadata {
    /// An object, or one of its versions, and the first extents of the bytes wanted of it, from one statement.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::NoSuchVersion`], [`Error::DeleteMarker`].
    pub fn resolve<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        version: Option<&'a VersionId>,
        range: ReadRange,
    ) -> Answer<'a, Resolved> {
        Box::pin(async move {
            let (kind, a, b) = match range {
                ReadRange::Nothing => (0, 0, 0),
                ReadRange::Whole => (1, 0, i64::MAX),
                ReadRange::From(first, None) => (1, int(first), i64::MAX),
                ReadRange::From(first, Some(last)) => (1, int(first), int(last.saturating_add(1))),
                ReadRange::Suffix(len) => (2, int(len), 0),
                ReadRange::Part(number) => (3, i64::from(number), 0),
            };
            let page = i64::from(EXTENT_PAGE);
            let rows = match version {
                None => self.db.query(&RESOLVE_SQL, values![bucket, key.as_bytes(), kind, a, b, page]).await?,
                Some(version) => {
                    let values = values![bucket, key.as_bytes(), kind, a, b, page, version.as_str()];
                    self.db.query(&RESOLVE_VERSION_SQL, values).await?
                }
            };
            let row = rows.first().ok_or_else(|| Error::NoSuchBucket(bucket.into()))?;
            let versioning = rows::versioning(row)?;
            if row.opt_bytes("key")?.is_none() {
                return Err(match version {
                    Some(version) => versions::no_such_version(bucket, key, version),
                    None if versioning == Versioning::Never => versions::no_such_key(bucket, key),
                    None => self.hidden(bucket, key).await?,
                });
            }
            let found = VersionId::of_column(row.opt_text("version_id")?);
            if row.int("marker")? != 0 {
                let modified = row.int("modified")?;
                let (bucket, key, named) = (bucket.to_owned(), key.to_owned(), true);
                return Err(Error::DeleteMarker { bucket, key, version: found, named, modified });
            }
            let object = rows::object(row)?;
            let from: u64 = row.number("wanted_from")?;
            let to: u64 = row.number("wanted_to")?;
            let part = match range {
                ReadRange::Part(number) => match row.opt_number("part_number")? {
                    Some(number) => Some(ObjectPart {
                        number,
                        start: row.number("part_start")?,
                        size: row.number("part_size")?,
                        checksum: row.opt_text("part_checksum")?,
                    }),
                    None if number == 1 && object.parts.is_none() => Some(ObjectPart {
                        number,
                        start: 0,
                        size: object.size,
                        checksum: object.checksum.as_ref().map(|checksum| checksum.value.clone()),
                    }),
                    None => None,
                },
                _ => None,
            };
            let mut extents = Vec::with_capacity(rows.len());
            match object.content {
                Content::Packed(extent) if from < to => extents.push(rows::placed(row, extent)?),
                _ => {}
            }
            for row in &rows {
                if row.opt_int("extent_start")?.is_some() {
                    extents.push(rows::placed_extent(row)?);
                }
            }
            if from < to && extents.is_empty() {
                return Err(Error::Corrupt(format!(
                    "{} of {key} in bucket {bucket} has no extents",
                    Name(object.content)
                )));
            }
            let version = (version.is_some() || versioning != Versioning::Never).then_some(found);
            let bucket = BucketId(row.int("bucket")?);
            Ok(Resolved { bucket, version, object, range: from..to.max(from), extents, part })
        })
    }

    /// Why a key has no object in a bucket that keeps versions: it may be hidden by a delete marker.
    async fn hidden(&self, bucket: &str, key: &str) -> Result<Error> {
        let sql = "SELECT v.version_id, v.modified, v.marker FROM versions v \
                   WHERE v.bucket_id = (SELECT bucket_id FROM buckets WHERE name = $1) \
                   AND v.entry >= $2 AND v.entry < $3 ORDER BY v.entry LIMIT 1";
        let ends = versions::entries_of(key);
        let row = self.db.first(sql, values![bucket, &ends.start, &ends.end]).await?;
        Ok(match row {
            Some(row) if row.int("marker")? != 0 => Error::DeleteMarker {
                bucket: bucket.into(),
                key: key.into(),
                version: VersionId::of_column(row.opt_text("version_id")?),
                named: false,
                modified: row.int("modified")?,
            },
            _ => versions::no_such_key(bucket, key),
        })
    }

    /// The extents that overlap a range, at most [`EXTENT_PAGE`]. None if the data is gone.
    pub fn extents(&self, query: ExtentQuery) -> Answer<'_, Vec<PlacedExtent>> {
        Box::pin(async move {
            if query.from >= query.to {
                return Ok(Vec::new());
            }
            let values = values![query.data.0, int(query.from), int(query.to), i64::from(EXTENT_PAGE)];
            self.db.query(&EXTENTS_SQL, values).await?.iter().map(rows::placed_extent).collect()
        })
    }

    /// Where a chunk's shards are now; `None` if the chunk is gone or dead.
    pub fn placement(&self, chunk: ChunkId) -> Answer<'_, Option<Placement>> {
        Box::pin(async move {
            let sql = "SELECT slots FROM chunks WHERE chunk_id = $1 AND state <> 'dead'";
            let row = self.db.first(sql, values![&chunk.to_bytes()]).await?;
            row.map(|row| row.parse("slots")).transpose()
        })
    }

    /// The parts that a multipart object was completed from.
    pub fn object_parts(&self, data: DataId, query: PartQuery) -> Answer<'_, Vec<ObjectPart>> {
        Box::pin(async move {
            let sql = "SELECT number, start, size, checksum FROM data_parts WHERE data_id = $1 AND number > $2 \
                   ORDER BY number LIMIT $3";
            let rows = self.db.query(sql, values![data.0, i64::from(query.after), i64::from(query.limit)]).await?;
            rows.iter()
                .map(|row| {
                    Ok(ObjectPart {
                        number: row.number("number")?,
                        start: row.number("start")?,
                        size: row.number("size")?,
                        checksum: row.opt_text("checksum")?,
                    })
                })
                .collect()
        })
    }
}

/// A content's name in an error.
struct Name(Content);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Content::Empty => f.write_str("empty content"),
            Content::Data(data) => write!(f, "data {}", data.0),
            Content::Packed(extent) => write!(f, "chunk {}", extent.chunk),
        }
    }
}
