//! Multipart uploads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::buckets::{self, HeldBucket};
use super::dialect::{Column, Row, Tx, fresh_batch, retrying, values};
use super::listing::upload_entry;
use super::quotas::{self, Amount, Counters};
use super::rows::{self, int, to_json};
use super::write::{self, Put};
use super::{
    Answer, BatchId, BucketId, CompleteCommit, Completion, Content, DataId, Error, Lease, Metadata, NewUpload, Part,
    PartCommit, PartQuery, PartSource, Result, Upload, UploadId, VersionId, instances, objects,
};
use crate::clock::Millis;
use crate::layout::{BLOCK_HEADER_LEN, Extent, block_len};

impl Metadata {
    /// Starts an upload.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn create_upload<'a>(&'a self, upload: &'a NewUpload) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = create(&mut tx, upload).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// A running upload.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`].
    pub fn upload<'a>(&'a self, bucket: &'a str, key: &'a str, id: &'a UploadId) -> Answer<'a, Upload> {
        Box::pin(async move {
            let sql = format!(
                "SELECT {} FROM buckets b LEFT JOIN uploads u \
             ON u.upload_id = $3 AND u.bucket_id = b.bucket_id AND u.key = $2 WHERE b.name = $1",
                rows::UPLOAD
            );
            let row = self.db.first(&sql, values![bucket, key.as_bytes(), &id.0]).await?;
            let row = row.ok_or_else(|| Error::NoSuchBucket(bucket.into()))?;
            match row.opt_text("upload_id")? {
                Some(_) => rows::upload(&row),
                None => Err(no_such_upload(bucket, key, id)),
            }
        })
    }

    /// A page of a running upload's parts, by number.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`].
    pub fn parts<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        id: &'a UploadId,
        query: PartQuery,
    ) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            let sql = "SELECT u.upload_id, p.number, p.size, p.etag, p.checksum_algorithm, p.checksum_type, p.checksum, \
                   p.modified FROM buckets b LEFT JOIN uploads u \
                   ON u.upload_id = $3 AND u.bucket_id = b.bucket_id AND u.key = $2 \
                   LEFT JOIN parts p ON p.upload_id = u.upload_id AND p.number > $4 \
                   WHERE b.name = $1 ORDER BY p.number LIMIT $5";
            // One row says whether the upload is there, were no part wanted.
            let limit = i64::from(query.limit.max(1));
            let values = values![bucket, key.as_bytes(), &id.0, i64::from(query.after), limit];
            let found = self.db.query(sql, values).await?;
            let first = found.first().ok_or_else(|| Error::NoSuchBucket(bucket.into()))?;
            if first.opt_text("upload_id")?.is_none() {
                return Err(no_such_upload(bucket, key, id));
            }
            let mut parts = Vec::with_capacity(found.len());
            for row in found.iter().take(query.limit as usize) {
                if row.opt_int("number")?.is_some() {
                    parts.push(rows::part(row)?);
                }
            }
            Ok(parts)
        })
    }

    /// Makes bytes a part of an upload, in place of the part of that number. Answers the part's size.
    ///
    /// A caller that drops this future before it answered knows as little as after [`Error::Ambiguous`]: run it to its end.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`], [`Error::RangeClosed`], [`Error::SourceChanged`], [`Error::DataPacked`],
    /// [`Error::QuotaExceeded`].
    pub fn commit_part<'a>(&'a self, commit: &'a PartCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = part(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Makes an object of an upload's parts: their extents become the object's, parts that are not wanted are released.
    ///
    /// # Errors
    /// As [`Self::commit_put`], and [`Error::NoSuchUpload`], [`Error::InvalidPart`].
    pub fn complete_upload<'a>(&'a self, commit: &'a CompleteCommit) -> Answer<'a, Option<VersionId>> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(Some(commit.batch)).await?;
                let result = complete(&mut tx, commit).await;
                tx.end(result).await
            })
            .await
        })
    }

    /// What an upload was completed to, if it was, within the last day.
    pub fn completion<'a>(&'a self, bucket: &'a str, key: &'a str, id: &'a UploadId) -> Answer<'a, Option<Completion>> {
        Box::pin(async move {
            let sql = "SELECT c.etag, c.size, c.checksum_algorithm, c.checksum_type, c.checksum, c.version_id FROM completions c \
                   JOIN buckets b ON b.bucket_id = c.bucket_id WHERE c.upload_id = $3 AND b.name = $1 AND c.key = $2";
            let row = self.db.first(sql, values![bucket, key.as_bytes(), &id.0]).await?;
            let completion = |row: Row| {
                Ok(Completion {
                    etag: row.text("etag")?,
                    size: row.number("size")?,
                    checksum: rows::checksum(&row)?,
                    version: row.opt_text("version_id")?.map(|id| VersionId::of_column(Some(id))),
                })
            };
            row.map(completion).transpose()
        })
    }

    /// Ends an upload and releases its parts.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchUpload`].
    pub fn abort_upload<'a>(&'a self, bucket: &'a str, key: &'a str, id: &'a UploadId, now: Millis) -> Answer<'a, ()> {
        Box::pin(async move {
            let batch = fresh_batch();
            retrying(|| async {
                let mut tx = self.db.begin(Some(batch)).await?;
                let result = async {
                    let held = buckets::hold(&mut tx, bucket).await?;
                    lock(&mut tx, held.id, bucket, key, id).await?;
                    let mut counters = Counters::hold(&mut tx, &[&held]).await?;
                    abort(&mut tx, &held, &id.0, now, &mut counters).await?;
                    counters.write(&mut tx).await
                };
                let result = result.await;
                tx.end(result).await
            })
            .await
        })
    }

    /// Aborts at most `limit` uploads whose newest part (or start) is older than `idle_since`; answers how many.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn expire_uploads<'a>(
        &'a self,
        lease: &'a Lease,
        idle_since: Millis,
        now: Millis,
        limit: u32,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            retrying(|| async {
                let mut tx = self.db.begin(None).await?;
                let result = expire(&mut tx, lease, idle_since, now, limit).await;
                tx.end(result).await
            })
            .await
        })
    }
}

fn no_such_upload(bucket: &str, key: &str, id: &UploadId) -> Error {
    Error::NoSuchUpload { bucket: bucket.into(), key: key.into(), upload: id.clone() }
}

async fn create(tx: &mut Tx, upload: &NewUpload) -> Result<()> {
    let bucket = buckets::hold(tx, &upload.bucket).await?;
    let template = &upload.template;
    if bucket.lock.is_none() && !template.lock.is_none() {
        return Err(Error::NoObjectLock(upload.bucket.clone()));
    }
    let sql = "INSERT INTO uploads (upload_id, bucket_id, key, entry, owner, headers, tags, checksum_algorithm, \
               checksum_type, started, object_lock, acl, storage_class, initiator) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let (lock, acl) = (rows::lock_column(&template.lock)?, rows::acl_column(template.acl.as_ref())?);
    let entry = upload_entry(&template.key, &upload.id);
    let initiator = (template.initiator != template.owner).then_some(template.initiator.as_str());
    let (headers, tags) = (to_json(&template.headers)?, to_json(&template.tags)?);
    let values = values![
        &upload.id.0,
        bucket.id.0,
        template.key.as_bytes(),
        &entry,
        &template.owner,
        &headers,
        &tags,
        template.checksum.map(|(algorithm, _)| algorithm.name()),
        template.checksum.map(|(_, kind)| kind.name()),
        upload.started,
        lock.as_deref(),
        acl.as_deref(),
        template.storage_class.column(),
        initiator,
    ];
    tx.execute(sql, values).await.map(|_| ())
}

/// Locks an upload against everyone who adds parts to it, completes or aborts it.
async fn lock(tx: &mut Tx, held: BucketId, bucket: &str, key: &str, id: &UploadId) -> Result<()> {
    let sql = "SELECT upload_id FROM uploads WHERE upload_id = $1 AND bucket_id = $2 AND key = $3 {update}";
    let row = tx.first(sql, values![&id.0, held.0, key.as_bytes()]).await?;
    row.map(|_| ()).ok_or_else(|| no_such_upload(bucket, key, id))
}

/// Holds an upload open; others may add parts at the same time.
pub(super) async fn hold(tx: &mut Tx, held: BucketId, bucket: &str, key: &str, id: &UploadId) -> Result<()> {
    let sql = "SELECT upload_id FROM uploads WHERE upload_id = $1 AND bucket_id = $2 AND key = $3 {share}";
    let row = tx.first(sql, values![&id.0, held.0, key.as_bytes()]).await?;
    row.map(|_| ()).ok_or_else(|| no_such_upload(bucket, key, id))
}

async fn part(tx: &mut Tx, commit: &PartCommit) -> Result<u64> {
    let PartCommit { batch: BatchId(_), bucket: name, key, upload, number, modified, source, .. } = commit;
    let bucket = buckets::hold(tx, name).await?;
    if let PartSource::New(data) = source {
        objects::check_data(name, key, data)?;
        write::hold_ranges(tx, data.chunks.iter().map(|chunk| chunk.id)).await?;
    }
    hold(tx, bucket.id, name, key, upload).await?;
    tx.lock_names(vec![write::part_name(upload, *number)]).await?;
    let replaced = current_part(tx, upload, *number).await?;
    let size = match source {
        PartSource::New(data) => data.len,
        PartSource::Range { range, .. } => range.end.saturating_sub(range.start),
    };
    quotas::charge(tx, &bucket, Amount::bytes(size) - replaced.amount()).await?;
    let data = match source {
        PartSource::New(data) => write::insert_data(tx, data, *modified).await?,
        PartSource::Range { data, range } => refer(tx, *data, range.clone()).await?,
    };
    upsert_part(tx, commit, size, data).await?;
    write::release_data(tx, replaced.data.into_iter().collect(), *modified).await?;
    Ok(size)
}

/// What is there under a part's name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReplacedPart {
    pub(super) data: Option<i64>,
    size: u64,
}

impl ReplacedPart {
    /// What quotas count of it.
    pub(super) fn amount(&self) -> Amount {
        Amount::bytes(self.size)
    }
}

/// The part whose name is locked.
pub(super) async fn current_part(tx: &mut Tx, upload: &UploadId, number: u32) -> Result<ReplacedPart> {
    let sql = "SELECT data_id, size FROM parts WHERE upload_id = $1 AND number = $2";
    match tx.first(sql, values![&upload.0, i64::from(number)]).await? {
        Some(row) => Ok(ReplacedPart { data: row.opt_int("data_id")?, size: row.number("size")? }),
        None => Ok(ReplacedPart::default()),
    }
}

/// Writes the row of a part whose name is locked.
pub(super) async fn upsert_part(tx: &mut Tx, part: &PartCommit, size: u64, data: Option<DataId>) -> Result<()> {
    let sql = "INSERT INTO parts (upload_id, number, size, etag, checksum_algorithm, checksum_type, checksum, modified, \
               data_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (upload_id, number) DO UPDATE SET size = excluded.size, etag = excluded.etag, \
               checksum_algorithm = excluded.checksum_algorithm, checksum_type = excluded.checksum_type, \
               checksum = excluded.checksum, modified = excluded.modified, data_id = excluded.data_id";
    let checksum = part.checksum.as_ref();
    let values = values![
        &part.upload.0,
        i64::from(part.number),
        int(size),
        &part.etag,
        checksum.map(|checksum| checksum.algorithm.name()),
        checksum.map(|checksum| checksum.kind.name()),
        checksum.map(|checksum| checksum.value.as_str()),
        part.modified,
        data.map(|data| data.0),
    ];
    tx.execute(sql, values).await.map(|_| ())
}

/// Makes data that refers to a range of other data's chunks, none of them packed. `None` if the range is empty.
async fn refer(tx: &mut Tx, source: DataId, range: Range<u64>) -> Result<Option<DataId>> {
    // While this row is held, nobody counts the source's references down to nothing.
    let row = tx.first("SELECT refs, len FROM data WHERE data_id = $1 {share}", values![source.0]).await?;
    let row = row.ok_or(Error::SourceChanged)?;
    if row.int("refs")? < 1 || row.number::<u64>("len")? < range.end {
        return Err(Error::SourceChanged);
    }
    if range.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT e.start, e.chunk_id, e.position, e.stripe_len, e.skip, e.len, c.packed \
               FROM extents e JOIN chunks c ON c.chunk_id = e.chunk_id \
               WHERE e.data_id = $1 AND e.start < $3 AND e.start >= \
               (SELECT x.start FROM extents x WHERE x.data_id = $1 AND x.start <= $2 ORDER BY x.start DESC LIMIT 1) ORDER BY e.start";
    let mut extents = Vec::new();
    let mut live = BTreeMap::<[u8; 16], u64>::new();
    for row in tx.query(sql, values![source.0, int(range.start), int(range.end)]).await? {
        let extent = Extent {
            start: row.number("start")?,
            chunk: row.chunk_id("chunk_id")?,
            position: row.number("position")?,
            stripe_len: row.number("stripe_len")?,
            skip: row.number("skip")?,
            len: row.number("len")?,
        };
        if let Some(extent) = clip(&extent, &range) {
            if row.int("packed")? != 0 {
                return Err(Error::DataPacked);
            }
            *live.entry(extent.chunk.to_bytes()).or_default() += extent.len;
            extents.push(extent);
        }
    }
    if extents.iter().map(|extent| extent.len).sum::<u64>() != range.end - range.start {
        return Err(Error::Corrupt(format!("extents of data {} leave a gap within {range:?}", source.0)));
    }

    let ids = || Column::Bytes(live.keys().map(<[u8; 16]>::as_slice).collect());
    let sql = "SELECT state FROM chunks WHERE chunk_id IN (SELECT input.id FROM {input:id}) ORDER BY chunk_id {change}";
    for row in tx.query_many(sql, &[], &[ids()]).await? {
        if row.text("state")? == "dead" {
            return Err(Error::Corrupt(format!("data {} refers to a dead chunk", source.0)));
        }
    }
    let sql = "UPDATE chunks SET live = live + input.bytes FROM {input:id,bytes} WHERE chunks.chunk_id = input.id";
    tx.execute_many(sql, &[], &[ids(), Column::Ints(live.values().map(|&bytes| int(bytes)).collect())]).await?;
    let data = write::insert_data_row(tx, range.end - range.start).await?;
    write::insert_extents(tx, data, &extents).await?;
    Ok(Some(data))
}

/// The part of an extent that is in a range, its start counted from the range's. The extent's own data is the range's too.
fn clip(extent: &Extent, range: &Range<u64>) -> Option<Extent> {
    let from = range.start.max(extent.start);
    let to = range.end.min(extent.start.saturating_add(extent.len));
    let stripe_len = u64::from(extent.stripe_len);
    if from >= to || stripe_len == 0 {
        return None;
    }
    // All stripes before the one that holds the first byte are whole: only a chunk's last is not.
    let skip = u64::from(extent.skip) + (from - extent.start);
    let stripes = skip / stripe_len;
    Some(Extent {
        start: from - range.start,
        chunk: extent.chunk,
        position: extent.position + stripes * (BLOCK_HEADER_LEN + u64::from(block_len(extent.stripe_len))),
        stripe_len: extent.stripe_len,
        skip: (skip % stripe_len) as u32,
        len: to - from,
    })
}

struct StoredPart {
    part: Part,
    data: Option<i64>,
}

async fn complete(tx: &mut Tx, commit: &CompleteCommit) -> Result<Option<VersionId>> {
    let CompleteCommit { batch: BatchId(_), bucket: name, key, upload, parts, object, condition } = commit;
    let bucket = buckets::hold(tx, name).await?;
    lock(tx, bucket.id, name, key, upload).await?;
    tx.lock_names(vec![write::key_name(bucket.id, key)]).await?;
    let held = write::held(tx, &[(&bucket, key)]).await?.pop().unwrap_or_default();
    write::check(condition, &bucket, key, held.current.as_ref())?;

    let sql = "SELECT number, size, etag, checksum_algorithm, checksum_type, checksum, modified, data_id FROM parts \
               WHERE upload_id = $1";
    let mut stored = HashMap::new();
    let mut uploaded = 0u64;
    for row in tx.query(sql, values![&upload.0]).await? {
        let part = rows::part(&row)?;
        uploaded = uploaded.saturating_add(part.size);
        stored.insert(part.number, StoredPart { data: row.opt_int("data_id")?, part });
    }
    let mut chosen = Vec::with_capacity(parts.len());
    let mut starts = Vec::with_capacity(parts.len());
    let mut size = 0u64;
    for part in parts {
        let found = stored.remove(&part.number);
        let found = found.filter(|found| found.part.etag == part.etag && found.part.size == part.size);
        let found = found.ok_or_else(|| Error::InvalidPart { upload: upload.clone(), number: part.number })?;
        starts.push(size);
        size = size.saturating_add(part.size);
        chosen.push(found);
    }
    // Its bytes were counted as parts; those of the parts that are not wanted go.
    write::charge(tx, &bucket, key, &held, Amount::object(size) - Amount::bytes(uploaded)).await?;

    let data = write::insert_data_row(tx, size).await?;
    let sql = "INSERT INTO data_parts (data_id, number, start, size, checksum) \
               SELECT $1, input.number, input.start, input.size, input.checksum FROM {input:number,start,size,checksum}";
    let checksum = |chosen: &'_ StoredPart| chosen.part.checksum.as_ref().map(|checksum| checksum.value.clone());
    let checksums: Vec<_> = chosen.iter().map(checksum).collect();
    let columns = [
        Column::Ints(chosen.iter().map(|chosen| i64::from(chosen.part.number)).collect()),
        Column::Ints(starts.iter().map(|&start| int(start)).collect()),
        Column::Ints(chosen.iter().map(|chosen| int(chosen.part.size)).collect()),
        Column::OptTexts(checksums.iter().map(Option::as_deref).collect()),
    ];
    tx.execute_many(sql, values![data.0], &columns).await?;

    let (moved, offsets): (Vec<i64>, Vec<i64>) =
        chosen.iter().zip(&starts).filter_map(|(chosen, &start)| Some((chosen.data?, int(start)))).unzip();
    take_extents(tx, data, &upload.0, moved, offsets).await?;
    let unwanted = stored.into_values().filter_map(|stored| stored.data).collect();
    write::release_data(tx, unwanted, object.modified).await?;
    tx.execute("DELETE FROM uploads WHERE upload_id = $1", values![&upload.0]).await?;

    let parts = u32::try_from(chosen.len()).ok();
    let put = Put { bucket: &bucket, object, size, parts, content: Content::Data(data) };
    let version = write::put(tx, put, &held).await?;

    let sql = "INSERT INTO completions (upload_id, bucket_id, key, etag, size, checksum_algorithm, checksum_type, checksum, \
               version_id, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {now})";
    let checksum = object.checksum.as_ref();
    let values = values![
        &upload.0,
        bucket.id.0,
        key.as_bytes(),
        &object.etag,
        int(size),
        checksum.map(|checksum| checksum.algorithm.name()),
        checksum.map(|checksum| checksum.kind.name()),
        checksum.map(|checksum| checksum.value.as_str()),
        version.as_ref().map(VersionId::as_str),
    ];
    tx.execute(sql, values).await?;
    Ok(version)
}

/// Makes the extents of parts' data, each moved by its offset, those of `data`. The parts' rows and data go.
async fn take_extents(tx: &mut Tx, data: DataId, upload: &str, moved: Vec<i64>, offsets: Vec<i64>) -> Result<()> {
    let ids = || Column::Ints(moved.clone());
    let sql =
        "SELECT data_id, refs FROM data WHERE data_id IN (SELECT input.id FROM {input:id}) ORDER BY data_id {change}";
    for row in tx.query_many(sql, &[], &[ids()]).await? {
        // Only objects' data is ever referred to a second time.
        if row.int("refs")? != 1 {
            return Err(Error::Corrupt(format!(
                "data {} of a part has {} references",
                row.int("data_id")?,
                row.int("refs")?
            )));
        }
    }
    let sql = "UPDATE extents SET data_id = $1, start = start + input.moved_by FROM {input:id,moved_by} \
               WHERE extents.data_id = input.id";
    tx.execute_many(sql, values![data.0], &[ids(), Column::Ints(offsets)]).await?;
    tx.execute("DELETE FROM parts WHERE upload_id = $1", values![upload]).await?;
    tx.execute_many("DELETE FROM data WHERE data_id IN (SELECT input.id FROM {input:id})", &[], &[ids()]).await?;
    Ok(())
}

/// Ends an upload whose row is locked.
async fn abort(tx: &mut Tx, bucket: &HeldBucket, upload: &str, now: Millis, counters: &mut Counters) -> Result<()> {
    if bucket.is_counted() {
        let sql = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) AS size FROM parts WHERE upload_id = $1";
        let size = tx.first(sql, values![upload]).await?.map_or(Ok(0), |row| row.number("size"))?;
        counters.admit(bucket, Amount::default() - Amount::bytes(size))?;
    }
    let sql = "INSERT INTO released (data_id, at) SELECT data_id, $2 FROM parts \
               WHERE upload_id = $1 AND data_id IS NOT NULL";
    tx.execute(sql, values![upload, now]).await?;
    tx.execute("DELETE FROM parts WHERE upload_id = $1", values![upload]).await?;
    tx.execute("DELETE FROM uploads WHERE upload_id = $1", values![upload]).await?;
    Ok(())
}

async fn expire(tx: &mut Tx, lease: &Lease, idle_since: Millis, now: Millis, limit: u32) -> Result<u64> {
    instances::hold_lease(tx, lease).await?;
    let idle = "started < $1 AND NOT EXISTS \
                (SELECT 1 FROM parts WHERE parts.upload_id = uploads.upload_id AND parts.modified >= $1)";
    let sql = format!("SELECT upload_id, bucket_id FROM uploads WHERE {idle} ORDER BY started LIMIT $2");
    let (mut candidates, mut wanted) = (Vec::new(), BTreeSet::new());
    for row in tx.query(&sql, values![idle_since, i64::from(limit)]).await? {
        candidates.push(row.text("upload_id")?);
        wanted.insert(row.int("bucket_id")?);
    }
    if candidates.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT {} FROM buckets WHERE bucket_id IN (SELECT input.id FROM {{input:id}}) ORDER BY bucket_id {{share}}",
        HeldBucket::COLUMNS
    );
    let rows = tx.query_many(&sql, &[], &[Column::Ints(wanted.into_iter().collect())]).await?;
    let buckets = rows.iter().map(HeldBucket::of).collect::<Result<Vec<_>>>()?;
    // Once the rows are locked nobody adds a part; one added before is seen by the statement after.
    let among = "upload_id IN (SELECT input.id FROM {input:id})";
    let ids = || [Column::Texts(candidates.iter().map(String::as_str).collect())];
    let sql = format!("SELECT upload_id FROM uploads WHERE {among} ORDER BY upload_id {{update}}");
    tx.query_many(&sql, &[], &ids()).await?;
    let sql = format!("SELECT upload_id, bucket_id FROM uploads WHERE {idle} AND {among} ORDER BY upload_id");
    let found = tx.query_many(&sql, values![idle_since], &ids()).await?;
    let mut counters = Counters::hold(tx, &buckets.iter().collect::<Vec<_>>()).await?;
    let mut expired = 0;
    for row in &found {
        let bucket = row.int("bucket_id")?;
        if let Some(bucket) = buckets.iter().find(|held| held.id.0 == bucket) {
            abort(tx, bucket, &row.text("upload_id")?, now, &mut counters).await?;
            expired += 1;
        }
    }
    counters.write(tx).await?;
    Ok(expired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ChunkId;

    #[test]
    fn a_clipped_extent_begins_in_the_stripe_that_holds_its_first_byte() {
        let chunk = ChunkId { seq: 1, nonce: 2 };
        let extent = Extent { start: 100, chunk, position: 64, stripe_len: 1000, skip: 300, len: 5000 };
        // Byte 2,000 of the data is byte 300 + 1,900 behind the extent's first stripe's beginning.
        let clipped = clip(&extent, &(2000..2500));
        let position = 64 + 2 * (32 + 167);
        assert_eq!(clipped, Some(Extent { start: 0, chunk, position, stripe_len: 1000, skip: 200, len: 500 }));
        let whole = clip(&extent, &(0..1 << 40));
        assert_eq!(whole, Some(extent));
        assert_eq!(clip(&extent, &(5100..6000)), None);
        assert_eq!(clip(&extent, &(0..100)), None);
    }
}
