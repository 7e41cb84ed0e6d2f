-- closed: nothing of the range commits any more; swept: files without a row were moved away on every volume, once.
-- changed_at: when it came to be closed, or swept. alarm: why it is not swept, if it should be and is not.
CREATE TABLE id_ranges_new (
    first BIGINT PRIMARY KEY,
    last BIGINT NOT NULL CHECK (last >= first),
    nonce BIGINT NOT NULL,
    instance_id BIGINT NOT NULL REFERENCES instances ON DELETE RESTRICT,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'swept')),
    changed_at BIGINT NOT NULL DEFAULT 0,
    alarm TEXT
);
INSERT INTO id_ranges_new (first, last, nonce, instance_id, state)
    SELECT first, last, nonce, instance_id, state FROM id_ranges;
DROP TABLE id_ranges;
ALTER TABLE id_ranges_new RENAME TO id_ranges;
CREATE INDEX id_ranges_instance ON id_ranges (instance_id);
CREATE INDEX id_ranges_waiting ON id_ranges (state, changed_at) WHERE state <> 'open';

-- The volumes on which a range has been swept since it came to its state.
CREATE TABLE range_sweeps (
    first BIGINT NOT NULL REFERENCES id_ranges ON DELETE RESTRICT,
    slot BIGINT NOT NULL,
    PRIMARY KEY (first, slot)
) WITHOUT ROWID;

-- Every read that the instance has under way, or will begin, began at or after this moment of the database's clock.
ALTER TABLE instances ADD COLUMN reads_since BIGINT NOT NULL DEFAULT 0;
