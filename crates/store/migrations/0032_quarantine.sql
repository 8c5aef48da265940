-- Why nothing is decided from this database until an Owner releases it. One row while that is so.
CREATE TABLE quarantine (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    since BIGINT NOT NULL,
    cause TEXT NOT NULL,
    -- The highest time in the database when the quarantine began.
    data_until BIGINT NOT NULL
);

-- What this database was last used with: the journal, and the PostgreSQL server. An empty journal: the next one is adopted.
CREATE TABLE history (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    journal TEXT,
    system_id BIGINT
);

-- Ends, until they are in the journal. Rows are written only while head.noting is 1.
CREATE TABLE ends (
    seq BIGINT PRIMARY KEY,
    entry TEXT NOT NULL
);
ALTER TABLE head ADD COLUMN end_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN noting BIGINT NOT NULL DEFAULT 0;

-- Earlier programs decide in a quarantine, and record no ends.
UPDATE oldest_program SET schema_version = 32, program_version = '0.1.0' WHERE one = 1;
