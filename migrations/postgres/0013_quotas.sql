-- What a bucket, or all buckets of an account, may hold, and what they do hold, kept by whatever changes that. One of bucket_id and canonical_id is
-- set; neither is a foreign key, nor unique to the database: a log of changes lacks what commands did. max_bytes, max_objects: NULL is any number.
-- bytes: of versions, and of parts of uploads that are not completed. objects: versions, without delete markers. counting: 1 until what was there
-- before is counted, too: the two are what came since, may be negative, and limit nothing.
CREATE TABLE quotas (
    quota_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket_id BIGINT,
    canonical_id TEXT,
    max_bytes BIGINT CHECK (max_bytes >= 0),
    max_objects BIGINT CHECK (max_objects >= 0),
    bytes BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    counting BIGINT NOT NULL CHECK (counting IN (0, 1)),
    CHECK ((bucket_id IS NULL) <> (canonical_id IS NULL))
);
CREATE INDEX quotas_bucket ON quotas (bucket_id) WHERE bucket_id IS NOT NULL;
CREATE INDEX quotas_account ON quotas (canonical_id) WHERE canonical_id IS NOT NULL;

-- The quotas that count what is in the bucket: its own, and its owner's.
ALTER TABLE buckets ADD COLUMN bucket_quota BIGINT;
ALTER TABLE buckets ADD COLUMN account_quota BIGINT;
