-- Processes that record evidence: up to when each has stored what it saw, and when another process last asked it to.
CREATE TABLE evidence_recorders (
    node_id TEXT PRIMARY KEY,
    recorded_until BIGINT NOT NULL,
    recording BIGINT NOT NULL,
    asked_at BIGINT NOT NULL
);
-- The process before has no ID here.
INSERT INTO evidence_recorders (node_id, recorded_until, recording, asked_at)
SELECT '', recorded_until, recording, 0 FROM evidence_state;
DROP TABLE evidence_state;
-- Earlier programs know of one process that records.
UPDATE oldest_program SET schema_version = 47, program_version = '0.1.0' WHERE one = 1;
