-- Where this instance sends its messages from, since the first start with mail, and another place that is held until
-- somebody releases it. A copy of the database has the row of the original.
CREATE TABLE sending_place (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    place TEXT NOT NULL,
    held_place TEXT,
    held_since BIGINT
);

-- What was told, by its cause, so that it is not told again.
CREATE TABLE told (
    cause TEXT PRIMARY KEY,
    told_at BIGINT NOT NULL
);

-- One-time links in messages that are still to be sent, sealed. Rows are in no backup.
CREATE TABLE message_links (
    notification_id TEXT PRIMARY KEY REFERENCES notifications (id),
    link_digest {BLOB} NOT NULL,
    sealed {BLOB} NOT NULL
);

-- Earlier programs would send from a place that is held, and would delete messages that still have links.
UPDATE oldest_program SET schema_version = 40, program_version = '0.1.0' WHERE one = 1;
