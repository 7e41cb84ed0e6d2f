//! A fresh database with a bucket, and makers of what commits take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ninefold::clock::{Millis, random_bytes};
use ninefold::layout::*;
use ninefold::metadata::*;
use sqlx::{PgPool, Row, SqlitePool};

use crate::postgres::Database;

pub const BUCKET: &str = "bucket";
pub const NOW: Millis = 1_700_000_000_000;
/// Later than any clock shows.
pub const LATE: Millis = i64::MAX / 4;
/// Bytes of the extents that tests make.
pub const STRIPE: u32 = 1 << 20;

/// Runs each test on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let fixture = crate::fixture::Fixture::postgres().await;
                Box::pin(super::$test(&fixture)).await;
                fixture.check().await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let fixture = crate::fixture::Fixture::sqlite().await;
                Box::pin(super::$test(&fixture)).await;
                fixture.check().await;
            }
        })*
    };
}
pub(crate) use on_both;

/// Direct access to the tables, for what a test must see or do behind the back of the code.
#[derive(Clone)]
pub enum Raw {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Raw {
    /// The rows of a statement whose columns are all BIGINT.
    pub async fn ints(&self, sql: &str) -> Vec<Vec<i64>> {
        macro_rules! rows {
            ($pool:expr) => {{
                let rows = sqlx::query(sql).fetch_all($pool).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|i| row.get::<i64, _>(i)).collect()).collect()
            }};
        }
        match self {
            Self::Postgres(pool) => rows!(pool),
            Self::Sqlite(pool) => rows!(pool),
        }
    }

    /// The one number that a statement answers.
    pub async fn int(&self, sql: &str) -> i64 {
        self.ints(sql).await[0][0]
    }

    pub async fn execute(&self, sql: &str) -> u64 {
        match self {
            Self::Postgres(pool) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
            Self::Sqlite(pool) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
        }
    }
}

/// What many tests await: boxed, so that it is compiled once.
pub type Boxed<'a, T> = futures_util::future::BoxFuture<'a, T>;

pub struct Fixture {
    pub meta: Metadata,
    pub raw: Raw,
    pub config: DatabaseConfig,
    pub instance: InstanceId,
    range: IdRange,
    next: AtomicU64,
    _kept: Box<dyn std::any::Any + Send + Sync>,
}

pub fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: url.into(),
        max_connections: 12,
        connect_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
    }
}

impl Fixture {
    pub fn postgres() -> Boxed<'static, Self> {
        Box::pin(async move {
            let database = Database::new().await;
            let config = config(&database.url);
            let meta = Metadata::connect(&config).await.unwrap();
            let raw = Raw::Postgres(PgPool::connect_lazy(&config.url).unwrap());
            Self::new(meta, raw, config, Box::new(database)).await
        })
    }

    pub fn sqlite() -> Boxed<'static, Self> {
        Box::pin(async move {
            let directory = tempfile::tempdir_in(crate::postgres::home()).unwrap();
            let path = directory.path().join("metadata.sqlite");
            let config = config(&format!("sqlite:{}", path.display()));
            let meta = Metadata::connect(&config).await.unwrap();
            let raw = Raw::Sqlite(SqlitePool::connect_lazy(&config.url).unwrap());
            Self::new(meta, raw, config, Box::new(directory)).await
        })
    }

    async fn new(meta: Metadata, raw: Raw, config: DatabaseConfig, kept: Box<dyn std::any::Any + Send + Sync>) -> Self {
        let instance = meta.register_instance().await.unwrap();
        let nonce = u64::from_be_bytes(random_bytes());
        let range = meta.reserve_range(instance, 1_000_000, nonce).await.unwrap();
        let fixture = Self { meta, raw, config, instance, range, next: AtomicU64::new(range.first), _kept: kept };
        fixture.bucket(BUCKET).await;
        fixture
    }

    pub async fn bucket(&self, name: &str) -> Bucket {
        let new = NewBucket {
            name: name.into(),
            region: "us-east-1".into(),
            owner: "owner".into(),
            lock: false,
            configs: Vec::new(),
            created: NOW,
        };
        self.meta.create_bucket(&new).await.unwrap()
    }

    pub fn chunk_id(&self) -> ChunkId {
        ChunkId { seq: self.next.fetch_add(1, Ordering::Relaxed), nonce: self.range.nonce }
    }

    pub fn chunk(&self, len: u64) -> NewChunk {
        let slot = |i| Some(Slot { volume: VolumeSlot(i as u16 + 1), generation: 0 });
        NewChunk {
            id: self.chunk_id(),
            len,
            end: 4096 + len / (1 << 20) * 174_795 + 32 + (len % (1 << 20)).div_ceil(6),
            placement: Placement(std::array::from_fn(slot)),
            missing: ShardSet::default(),
        }
    }

    /// Bytes in chunks of these lengths.
    pub fn data(&self, lens: &[u64]) -> NewData {
        let mut data = NewData::default();
        for &len in lens {
            let chunk = self.chunk(len);
            data.extents.push(Extent {
                start: data.len,
                chunk: chunk.id,
                position: HEADER_LEN,
                stripe_len: STRIPE,
                skip: 0,
                len,
            });
            data.chunks.push(chunk);
            data.len += len;
        }
        data
    }

    pub fn put(&self, key: &str, lens: &[u64]) -> PutCommit {
        PutCommit {
            batch: batch(),
            bucket: BUCKET.into(),
            object: object(key),
            data: self.data(lens),
            condition: WriteCondition::default(),
        }
    }

    pub async fn commit(&self, key: &str, lens: &[u64]) -> PutCommit {
        let commit = self.put(key, lens);
        self.meta.commit_put(&commit).await.unwrap();
        commit
    }

    pub async fn resolve(&self, key: &str) -> Result<Resolved> {
        self.meta.resolve(BUCKET, key, None, ReadRange::Whole).await
    }

    pub async fn data_of(&self, key: &str) -> DataId {
        match self.resolve(key).await.unwrap().object.content {
            Content::Data(data) => data,
            Content::Empty | Content::Packed(_) => panic!("{key} has no data of its own"),
        }
    }

    pub async fn copy(&self, from: &str, to: &str) -> CopyCommit {
        let source = self.resolve(from).await.unwrap().object;
        let Content::Data(data) = source.content else { panic!("{from} is empty") };
        CopyCommit {
            batch: batch(),
            bucket: BUCKET.into(),
            object: object(to),
            data,
            size: source.size,
            parts: source.parts,
            condition: WriteCondition::default(),
        }
    }

    pub async fn delete(&self, key: &str) {
        let keys = [DeleteKey { key: key.into(), ..DeleteKey::default() }];
        for result in self.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap() {
            result.unwrap();
        }
    }

    pub async fn upload(&self, key: &str) -> UploadId {
        let upload = new_upload(key, NOW);
        self.meta.create_upload(&upload).await.unwrap();
        upload.id
    }

    pub fn part(&self, key: &str, upload: &UploadId, number: u32, lens: &[u64]) -> PartCommit {
        PartCommit {
            batch: batch(),
            bucket: BUCKET.into(),
            key: key.into(),
            upload: upload.clone(),
            number,
            etag: format!("{:032x}", u128::from_be_bytes(random_bytes())),
            checksum: None,
            modified: NOW,
            source: PartSource::New(self.data(lens)),
        }
    }

    pub async fn parts(&self, key: &str, upload: &UploadId) -> Vec<Part> {
        self.meta.parts(BUCKET, key, upload, PartQuery { after: 0, limit: 10_000 }).await.unwrap()
    }

    pub fn complete(&self, key: &str, upload: &UploadId, parts: Vec<Part>) -> CompleteCommit {
        CompleteCommit {
            batch: batch(),
            bucket: BUCKET.into(),
            key: key.into(),
            upload: upload.clone(),
            parts,
            object: object(key),
            condition: WriteCondition::default(),
        }
    }

    pub async fn lease(&self, job: &str) -> Lease {
        self.meta.acquire_lease(job, self.instance, Duration::from_secs(600)).await.unwrap().unwrap()
    }

    /// Chunks that died, whoever may still read them.
    pub async fn dead(&self, limit: u32) -> Vec<DeadChunk> {
        self.meta.dead_chunks(&self.lease("gc").await, LATE, Duration::ZERO, false, limit).await.unwrap()
    }

    /// Folds until nothing is left to fold.
    pub fn fold_all(&self) -> Boxed<'_, Folded> {
        Box::pin(async move {
            let lease = self.lease("gc").await;
            let mut sum = Folded::default();
            loop {
                let folded = self.meta.fold_released(&lease, 1000).await.unwrap();
                if folded.rows == 0 {
                    return sum;
                }
                sum.rows += folded.rows;
                sum.data += folded.data;
                sum.chunks += folded.chunks;
            }
        })
    }

    /// Fails if the rows do not agree with one another.
    pub fn check(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut after = i64::MIN;
            while let Checked { found: more, next: Some(next), .. } = self.meta.check_data(after).await.unwrap() {
                found.extend(more);
                after = next;
            }
            let mut after = (i64::MIN, Vec::new());
            while let Checked { found: more, next: Some(next), .. } = self.meta.check_versions(&after).await.unwrap() {
                found.extend(more);
                after = next;
            }
            let mut after = ChunkId { seq: 0, nonce: 0 };
            while let Checked { found: more, next: Some(next), .. } = self.meta.check_chunks(after).await.unwrap() {
                found.extend(more);
                after = next;
            }
            found.extend(self.meta.check_quotas().await.unwrap());
            found.extend(self.meta.check_ranges().await.unwrap());
            assert!(found.is_empty(), "{found:#?}");
        })
    }
}

pub fn batch() -> BatchId {
    BatchId(random_bytes())
}

pub fn object(key: &str) -> NewObject {
    NewObject {
        key: key.into(),
        etag: format!("{:032x}", u128::from_be_bytes(random_bytes())),
        modified: NOW,
        checksum: None,
        headers: Headers::default(),
        tags: Tags::new(),
        owner: "owner".into(),
        lock: ObjectLock::default(),
        acl: None,
        storage_class: StorageClass::Standard,
    }
}

pub fn upload_id(started: Millis) -> UploadId {
    let random: [u8; 10] = random_bytes();
    UploadId(format!("{started:012x}{}", hex::encode(random)))
}

pub fn new_upload(key: &str, started: Millis) -> NewUpload {
    NewUpload {
        id: upload_id(started),
        bucket: BUCKET.into(),
        template: UploadTemplate {
            key: key.into(),
            headers: Headers::default(),
            tags: Tags::new(),
            owner: "owner".into(),
            initiator: "owner".into(),
            checksum: None,
            lock: ObjectLock::default(),
            acl: None,
            storage_class: StorageClass::Standard,
        },
        started,
    }
}

/// Runs all at once and waits for all.
pub async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
