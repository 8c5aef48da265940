-- Browsers in which an account signed in lately. One is found by the digest of what its cookie holds.
CREATE TABLE devices (
    digest {BLOB} NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- Wrong passwords that came with the cookie.
    wrong_passwords BIGINT NOT NULL
);
CREATE INDEX devices_user ON devices (user_id, created_at);
