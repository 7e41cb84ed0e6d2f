-- Renames that came with a token, for a day: whoever asks again, the answer having been lost, gets the same answer. request: a digest of
-- what was asked for.
CREATE TABLE renames (
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    token TEXT NOT NULL CHECK (length(token) <= 64),
    request BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (bucket_id, token)
) WITHOUT ROWID;
CREATE INDEX renames_at ON renames (at);
