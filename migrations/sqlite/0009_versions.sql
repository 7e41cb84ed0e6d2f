-- versioning: whether a write keeps what the key held before; a bucket that was ever versioned is never 'never' again.
-- object_lock: NULL unless the bucket locks objects; then the default retention, as JSON.
ALTER TABLE buckets ADD COLUMN versioning TEXT NOT NULL DEFAULT 'never'
    CHECK (versioning IN ('never', 'enabled', 'suspended'));
ALTER TABLE buckets ADD COLUMN object_lock TEXT;

-- object_lock: retention and legal hold, as JSON; NULL without either.
ALTER TABLE objects ADD COLUMN object_lock TEXT;
ALTER TABLE uploads ADD COLUMN object_lock TEXT;
-- version_id: as it was answered.
ALTER TABLE completions ADD COLUMN version_id TEXT;

-- What is not what a plain GET sees: versions that others came after, and delete markers. entry: key, a zero byte, and the inverse of seq
-- in bytes that begin no character: the order in which versions are listed. version_id: NULL is S3's "null".
CREATE TABLE versions (
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    entry BLOB NOT NULL,
    key BLOB NOT NULL,
    version_id TEXT,
    seq BIGINT NOT NULL,
    marker BIGINT NOT NULL CHECK (marker IN (0, 1)),
    size BIGINT NOT NULL CHECK (size >= 0),
    etag TEXT NOT NULL CHECK (length(etag) <= 64),
    modified BIGINT NOT NULL,
    checksum_algorithm TEXT,
    checksum_type TEXT,
    checksum TEXT,
    owner TEXT NOT NULL CHECK (length(owner) <= 256),
    headers TEXT NOT NULL,
    tags TEXT NOT NULL,
    parts BIGINT,
    data_id BIGINT REFERENCES data ON DELETE RESTRICT,
    chunk_id BLOB REFERENCES chunks ON DELETE RESTRICT,
    position BIGINT,
    stripe_len BIGINT,
    skip BIGINT,
    object_lock TEXT,
    PRIMARY KEY (bucket_id, entry),
    CHECK ((checksum_algorithm IS NULL) = (checksum IS NULL) AND (checksum_algorithm IS NULL) = (checksum_type IS NULL)),
    CHECK (data_id IS NULL OR chunk_id IS NULL),
    CHECK (size = 0 OR data_id IS NOT NULL OR chunk_id IS NOT NULL),
    CHECK ((chunk_id IS NULL) = (position IS NULL) AND (chunk_id IS NULL) = (stripe_len IS NULL)
        AND (chunk_id IS NULL) = (skip IS NULL)),
    CHECK (marker = 0 OR (size = 0 AND data_id IS NULL AND chunk_id IS NULL AND object_lock IS NULL))
) WITHOUT ROWID;
CREATE UNIQUE INDEX versions_id ON versions (bucket_id, key, COALESCE(version_id, 'null'));
CREATE INDEX versions_data ON versions (data_id) WHERE data_id IS NOT NULL;
CREATE INDEX versions_chunk ON versions (chunk_id) WHERE chunk_id IS NOT NULL;
