-- The chain of the audit trail: the hash of the event before, and of the event itself; NULL for events recorded before this
-- migration. The chain continues from the head; NULL before the first event of the chain.
ALTER TABLE audit_events ADD COLUMN previous_hash {BLOB};
ALTER TABLE audit_events ADD COLUMN hash {BLOB};
ALTER TABLE head ADD COLUMN audit_hash {BLOB};

-- Keys that sign statements about the trail, and nothing else.
CREATE TABLE audit_keys (
    id TEXT PRIMARY KEY,
    sealed {BLOB} NOT NULL,
    created_at BIGINT NOT NULL
);

-- Signed statements about the trail, as they are exported: where the chain begins, how far it reached, where retention has
-- cut it off, and where a restored backup has forked it.
CREATE TABLE audit_statements (
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    signed TEXT NOT NULL,
    PRIMARY KEY (seq, kind)
);

-- Destinations that the trail is shipped to, and the last event that was sent there.
CREATE TABLE audit_positions (
    sink TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL
);

-- Earlier programs would append events without a hash.
UPDATE oldest_program SET schema_version = 29, program_version = '0.1.0' WHERE one = 1;
