-- acl: an ACL as JSON; NULL: the owner may do everything, and nobody else anything. storage_class: NULL is STANDARD.
ALTER TABLE objects ADD COLUMN acl TEXT;
ALTER TABLE objects ADD COLUMN storage_class TEXT CHECK (length(storage_class) <= 32);
ALTER TABLE versions ADD COLUMN acl TEXT;
ALTER TABLE versions ADD COLUMN storage_class TEXT CHECK (length(storage_class) <= 32);
ALTER TABLE uploads ADD COLUMN acl TEXT;
-- Canonical id of who started it; NULL: the owner of what it will be.
ALTER TABLE uploads ADD COLUMN initiator TEXT;
ALTER TABLE uploads ADD COLUMN storage_class TEXT CHECK (length(storage_class) <= 32);

-- One row: how often it changed who may do what with a bucket, or which buckets there are. Of no use to another life of the store.
CREATE TABLE access_generation (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    generation BIGINT NOT NULL
);
INSERT INTO access_generation (one, generation) VALUES (1, 0);
