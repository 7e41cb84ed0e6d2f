-- Work that an operator asked for, or that comes round by itself. cursor: how far it has come, in the job's own words; done and
-- total: chunks (or shards); bytes: read and written.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    requested BIGINT NOT NULL,
    started BIGINT,
    updated BIGINT NOT NULL,
    cursor TEXT NOT NULL DEFAULT '',
    done BIGINT NOT NULL DEFAULT 0 CHECK (done >= 0),
    total BIGINT NOT NULL DEFAULT 0 CHECK (total >= 0),
    bytes BIGINT NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    found BIGINT NOT NULL DEFAULT 0 CHECK (found >= 0),
    message TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- due: by the database's clock, when the file may be removed. A file that is being written to take a shard's place is here before it is
-- created, due once its writer must have given up: whoever switches the shard to it takes the row away before that.
ALTER TABLE pending_deletes ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
CREATE INDEX pending_deletes_chunk ON pending_deletes (chunk_id, shard);

-- due: a shard that could not be healed is not tried again before. attempts: how often it could not.
ALTER TABLE heal_queue ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
ALTER TABLE heal_queue ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0);

-- epoch: how often the volume's disk was replaced by an empty one. by_command: it was added, or moved, by a command: no list of volumes
-- at a server's start has a say in where it is, or whether it is.
ALTER TABLE volumes ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0 CHECK (epoch >= 0);
ALTER TABLE volumes ADD COLUMN by_command BIGINT NOT NULL DEFAULT 0 CHECK (by_command IN (0, 1));

-- How each instance finds each volume, said with its heartbeat.
CREATE TABLE volume_reports (
    instance_id BIGINT NOT NULL REFERENCES instances ON DELETE RESTRICT,
    slot BIGINT NOT NULL,
    status TEXT NOT NULL,
    is_full BIGINT NOT NULL CHECK (is_full IN (0, 1)),
    used BIGINT NOT NULL CHECK (used >= 0),
    capacity BIGINT NOT NULL CHECK (capacity >= 0),
    error TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (instance_id, slot)
) WITHOUT ROWID;

-- Volumes that a command took away: a server's list of volumes that still names one does not bring it back.
CREATE TABLE removed_volumes (
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
