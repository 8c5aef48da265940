-- Serving processes on PostgreSQL. Each may decide until its lease ends, and says up to which change it decides.
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    uncertainty BIGINT NOT NULL,
    released_at BIGINT
);
-- Earlier programs wait for no lease, and take none.
UPDATE oldest_program SET schema_version = 46, program_version = '0.1.0' WHERE one = 1;
