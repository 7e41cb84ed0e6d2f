-- What a bucket was told to do, or to say of itself. kind: S3's name of the sub-resource; body: in that kind's own form.
CREATE TABLE bucket_configs (
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (bucket_id, kind)
);
