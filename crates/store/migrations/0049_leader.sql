-- The node that does what one node at a time is enough for. Another takes over when its lease has ended.
CREATE TABLE leader (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    node_id TEXT NOT NULL
);
INSERT INTO leader (one, node_id) VALUES (1, '');
-- Earlier programs serve alone, and do all of it.
UPDATE oldest_program SET schema_version = 49, program_version = '0.1.0' WHERE one = 1;
