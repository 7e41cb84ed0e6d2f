-- closed: nothing of the range commits any more; swept: files without a row were moved away on every volume, once.
-- changed_at: when it came to be closed, or swept. alarm: why it is not swept, if it should be and is not.
ALTER TABLE id_ranges DROP CONSTRAINT id_ranges_state_check;
ALTER TABLE id_ranges ADD CONSTRAINT id_ranges_state_check CHECK (state IN ('open', 'closed', 'swept'));
ALTER TABLE id_ranges ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE id_ranges ADD COLUMN alarm TEXT;
CREATE INDEX id_ranges_waiting ON id_ranges (state, changed_at) WHERE state <> 'open';

-- The volumes on which a range has been swept since it came to its state.
CREATE TABLE range_sweeps (
    first BIGINT NOT NULL REFERENCES id_ranges ON DELETE RESTRICT,
    slot BIGINT NOT NULL,
    PRIMARY KEY (first, slot)
);

-- Every read that the instance has under way, or will begin, began at or after this moment of the database's clock.
ALTER TABLE instances ADD COLUMN reads_since BIGINT NOT NULL DEFAULT 0;
