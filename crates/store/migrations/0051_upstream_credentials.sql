-- With what Crossfade authenticates at the issuer that an environment is in front of.
CREATE TABLE upstream_credentials (
    registration_id TEXT PRIMARY KEY REFERENCES registrations (id),
    method TEXT NOT NULL,
    -- Scheme, host and port of each server that it was set or confirmed for, as JSON. It is sent to no other.
    origins TEXT NOT NULL,
    -- The slot that is tried first.
    leading_slot TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE TABLE upstream_slots (
    registration_id TEXT NOT NULL REFERENCES upstream_credentials (registration_id),
    slot TEXT NOT NULL,
    sealed {BLOB} NOT NULL,
    set_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    last_ok_at BIGINT,
    last_error TEXT,
    PRIMARY KEY (registration_id, slot)
);
-- Earlier programs would issue tokens of their own in such an environment.
UPDATE oldest_program SET schema_version = 51, program_version = '0.1.0' WHERE one = 1;
