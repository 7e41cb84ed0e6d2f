-- packed: the chunk is shared by small objects, its stripes differ in length. file_end: where the last committed block ends in each
-- shard file, and a sealed one's trailer begins; nothing behind it counts.
ALTER TABLE chunks ADD COLUMN packed BIGINT NOT NULL DEFAULT 0 CHECK (packed IN (0, 1));
ALTER TABLE chunks ADD COLUMN file_end BIGINT NOT NULL DEFAULT 0 CHECK (file_end >= 0);
-- Chunks of large objects: a header of 4,096 bytes, blocks of 32 + 174,763 for each full stripe, and one for the rest.
UPDATE chunks SET file_end = 4096 + (len / 1048576) * 174795
    + CASE WHEN len % 1048576 > 0 THEN 32 + (len % 1048576 + 5) / 6 ELSE 0 END;
CREATE INDEX chunks_sparse ON chunks (chunk_id) WHERE packed = 1 AND state = 'sealed' AND live * 2 < len;
