-- Oldest program that can run on this schema: the newest migration that it knows, and its version. A later migration updates
-- the row, unless earlier programs can read and write every row of the schema that it leaves.
CREATE TABLE oldest_program (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    schema_version BIGINT NOT NULL,
    program_version TEXT NOT NULL
);
INSERT INTO oldest_program (one, schema_version, program_version) VALUES (1, 28, '0.1.0');
