-- How many transactions were logged on the volumes, and the name of the life that they are of: one that was restored is another.
ALTER TABLE deployment ADD COLUMN log_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN log_life TEXT NOT NULL DEFAULT '0';
