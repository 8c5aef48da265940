-- Sign-ins of people to the Console. One is found by the digest of what its cookie holds.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    digest {BLOB} NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    -- The last time the password was given.
    authenticated_at BIGINT NOT NULL,
    -- The last request, to the minute.
    last_seen_at BIGINT NOT NULL,
    ended_at BIGINT,
    source_ip TEXT NOT NULL,
    user_agent TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, created_at);
