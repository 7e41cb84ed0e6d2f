-- Uploads that became objects, for a day: whoever asks for the completion again, its answer having been lost, gets the same answer.
CREATE TABLE completions (
    upload_id TEXT PRIMARY KEY,
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    key BLOB NOT NULL,
    etag TEXT NOT NULL,
    size BIGINT NOT NULL CHECK (size >= 0),
    checksum_algorithm TEXT,
    checksum_type TEXT,
    checksum TEXT,
    at BIGINT NOT NULL,
    CHECK ((checksum_algorithm IS NULL) = (checksum IS NULL) AND (checksum_algorithm IS NULL) = (checksum_type IS NULL))
) WITHOUT ROWID;
CREATE INDEX completions_bucket ON completions (bucket_id);
CREATE INDEX completions_at ON completions (at);
