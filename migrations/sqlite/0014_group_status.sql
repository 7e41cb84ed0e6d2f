-- Groups that are switched off: their policies count for nothing.
CREATE TABLE disabled_groups (
    group_id TEXT PRIMARY KEY REFERENCES principals ON DELETE RESTRICT
);
