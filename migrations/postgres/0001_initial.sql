-- The same tables as migrations/sqlite/0001_initial.sql; only types, storage and expressions differ.

-- What SQLite has by this name: where b first is in a, from 1; 0 if nowhere.
CREATE FUNCTION instr(a BYTEA, b BYTEA) RETURNS INTEGER
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT position(b IN a)';

-- One row: the deployment's id, and the counters whose values are never given twice.
CREATE TABLE deployment (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id TEXT,
    last_seq BIGINT NOT NULL CHECK (last_seq >= 0),
    last_slot BIGINT NOT NULL CHECK (last_slot BETWEEN 0 AND 65535)
);
INSERT INTO deployment (one, id, last_seq, last_slot) VALUES (1, NULL, 0, 0);

CREATE TABLE volumes (
    slot BIGINT PRIMARY KEY CHECK (slot BETWEEN 1 AND 65535),
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    node TEXT NOT NULL,
    zone TEXT NOT NULL,
    region TEXT NOT NULL,
    weight DOUBLE PRECISION NOT NULL CHECK (weight > 0),
    capacity BIGINT CHECK (capacity >= 0),
    draining BIGINT NOT NULL DEFAULT 0 CHECK (draining IN (0, 1)),
    formatted BIGINT NOT NULL DEFAULT 0 CHECK (formatted IN (0, 1))
);

CREATE TABLE instances (
    instance_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'closed'))
);

CREATE TABLE id_ranges (
    first BIGINT PRIMARY KEY,
    last BIGINT NOT NULL CHECK (last >= first),
    nonce BIGINT NOT NULL,
    instance_id BIGINT NOT NULL REFERENCES instances ON DELETE RESTRICT,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed'))
);
CREATE INDEX id_ranges_instance ON id_ranges (instance_id);

CREATE TABLE leases (
    job TEXT PRIMARY KEY,
    holder BIGINT NOT NULL REFERENCES instances ON DELETE RESTRICT,
    token BIGINT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX leases_holder ON leases (holder);

-- kept = 1: the transaction of this id was committed; 0: it was given up and never can be.
CREATE TABLE commits (
    batch_id BYTEA PRIMARY KEY,
    kept BIGINT NOT NULL CHECK (kept IN (0, 1)),
    at BIGINT NOT NULL
);
CREATE INDEX commits_at ON commits (at);

CREATE TABLE buckets (
    bucket_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    created BIGINT NOT NULL,
    region TEXT NOT NULL,
    owner TEXT NOT NULL
);

-- live: bytes of the chunk that extents (or packed objects) hold, plus those that rows of released have yet to give back.
CREATE TABLE chunks (
    chunk_id BYTEA PRIMARY KEY CHECK (length(chunk_id) = 16),
    state TEXT NOT NULL CHECK (state IN ('open', 'sealed', 'dead', 'damaged')),
    slots TEXT NOT NULL,
    missing BIGINT NOT NULL CHECK (missing BETWEEN 0 AND 511),
    len BIGINT NOT NULL CHECK (len >= 0),
    live BIGINT NOT NULL CHECK (live >= 0),
    died_at BIGINT,
    CHECK ((state = 'dead') = (died_at IS NOT NULL)),
    CHECK (state <> 'dead' OR live = 0)
);
CREATE INDEX chunks_dead ON chunks (died_at, chunk_id) WHERE state = 'dead';

-- refs: objects and parts that refer to the data, plus rows of released that have yet to give theirs back.
CREATE TABLE data (
    data_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refs BIGINT NOT NULL CHECK (refs >= 0),
    len BIGINT NOT NULL CHECK (len >= 0)
);

CREATE TABLE extents (
    data_id BIGINT NOT NULL REFERENCES data ON DELETE RESTRICT,
    start BIGINT NOT NULL CHECK (start >= 0),
    chunk_id BYTEA NOT NULL REFERENCES chunks ON DELETE RESTRICT,
    position BIGINT NOT NULL CHECK (position >= 0),
    stripe_len BIGINT NOT NULL CHECK (stripe_len > 0),
    skip BIGINT NOT NULL CHECK (skip >= 0 AND skip < stripe_len),
    len BIGINT NOT NULL CHECK (len > 0),
    PRIMARY KEY (data_id, start)
);
CREATE INDEX extents_chunk ON extents (chunk_id);

CREATE TABLE data_parts (
    data_id BIGINT NOT NULL REFERENCES data ON DELETE RESTRICT,
    number BIGINT NOT NULL CHECK (number BETWEEN 1 AND 10000),
    start BIGINT NOT NULL CHECK (start >= 0),
    size BIGINT NOT NULL CHECK (size >= 0),
    checksum TEXT,
    PRIMARY KEY (data_id, number)
);

CREATE TABLE objects (
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    key BYTEA NOT NULL,
    version_id TEXT,
    seq BIGINT NOT NULL,
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
    chunk_id BYTEA REFERENCES chunks ON DELETE RESTRICT,
    position BIGINT,
    stripe_len BIGINT,
    skip BIGINT,
    -- With what a listing prints.
    PRIMARY KEY (bucket_id, key) INCLUDE (size, etag, modified, checksum_algorithm, checksum_type, owner),
    CHECK ((checksum_algorithm IS NULL) = (checksum IS NULL) AND (checksum_algorithm IS NULL) = (checksum_type IS NULL)),
    -- Nowhere, in extents, or packed.
    CHECK (data_id IS NULL OR chunk_id IS NULL),
    CHECK (size = 0 OR data_id IS NOT NULL OR chunk_id IS NOT NULL),
    CHECK ((chunk_id IS NULL) = (position IS NULL) AND (chunk_id IS NULL) = (stripe_len IS NULL)
        AND (chunk_id IS NULL) = (skip IS NULL))
);
CREATE INDEX objects_data ON objects (data_id) WHERE data_id IS NOT NULL;
CREATE INDEX objects_chunk ON objects (chunk_id) WHERE chunk_id IS NOT NULL;

-- entry: key, a zero byte, upload_id: the order in which uploads are listed.
CREATE TABLE uploads (
    upload_id TEXT COLLATE "C" PRIMARY KEY,
    bucket_id BIGINT NOT NULL REFERENCES buckets ON DELETE RESTRICT,
    key BYTEA NOT NULL,
    entry BYTEA NOT NULL,
    owner TEXT NOT NULL,
    headers TEXT NOT NULL,
    tags TEXT NOT NULL,
    checksum_algorithm TEXT,
    checksum_type TEXT,
    started BIGINT NOT NULL,
    UNIQUE (bucket_id, entry),
    CHECK ((checksum_algorithm IS NULL) = (checksum_type IS NULL))
);
CREATE INDEX uploads_started ON uploads (started);

CREATE TABLE parts (
    upload_id TEXT COLLATE "C" NOT NULL REFERENCES uploads ON DELETE RESTRICT,
    number BIGINT NOT NULL CHECK (number BETWEEN 1 AND 10000),
    size BIGINT NOT NULL CHECK (size >= 0),
    etag TEXT NOT NULL,
    checksum_algorithm TEXT,
    checksum_type TEXT,
    checksum TEXT,
    modified BIGINT NOT NULL,
    data_id BIGINT REFERENCES data ON DELETE RESTRICT,
    PRIMARY KEY (upload_id, number),
    CHECK ((size = 0) = (data_id IS NULL)),
    CHECK ((checksum_algorithm IS NULL) = (checksum IS NULL) AND (checksum_algorithm IS NULL) = (checksum_type IS NULL))
);
CREATE INDEX parts_data ON parts (data_id) WHERE data_id IS NOT NULL;

-- References dropped and not yet subtracted: one reference of a data row, or bytes of a packed chunk.
CREATE TABLE released (
    released_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    data_id BIGINT REFERENCES data ON DELETE RESTRICT,
    chunk_id BYTEA REFERENCES chunks ON DELETE RESTRICT,
    bytes BIGINT CHECK (bytes > 0),
    at BIGINT NOT NULL,
    CHECK ((data_id IS NULL) <> (chunk_id IS NULL) AND (chunk_id IS NULL) = (bytes IS NULL))
);
CREATE INDEX released_data ON released (data_id) WHERE data_id IS NOT NULL;
CREATE INDEX released_chunk ON released (chunk_id) WHERE chunk_id IS NOT NULL;

-- Files to be removed from a volume once it is there. The chunk may be forgotten already.
CREATE TABLE pending_deletes (
    slot BIGINT NOT NULL,
    chunk_id BYTEA NOT NULL,
    shard BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (slot, chunk_id, shard, generation)
);

-- noted: how often; a healer removes the row only if nobody noted the shard again meanwhile.
CREATE TABLE heal_queue (
    chunk_id BYTEA NOT NULL REFERENCES chunks ON DELETE RESTRICT,
    shard BIGINT NOT NULL CHECK (shard BETWEEN 0 AND 8),
    reason TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    noted BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (chunk_id, shard)
);
CREATE INDEX heal_queue_age ON heal_queue (queued_at, chunk_id, shard);
