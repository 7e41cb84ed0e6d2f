-- Snapshots of these tables, which are data on the volumes like any. began: by the database's clock, before the tables were looked at;
-- what died before is not needed by it. written: its data are there, its manifest is not yet on enough volumes. released: its
-- data were, and its manifests are still to be removed.
CREATE TABLE snapshots (
    snapshot_id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('written', 'complete', 'released')),
    began BIGINT NOT NULL,
    completed BIGINT,
    row_count BIGINT NOT NULL CHECK (row_count >= 0),
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    data_id BIGINT REFERENCES data ON DELETE RESTRICT,
    CHECK ((state = 'released') = (data_id IS NULL))
) WITHOUT ROWID;
CREATE INDEX snapshots_data ON snapshots (data_id) WHERE data_id IS NOT NULL;
