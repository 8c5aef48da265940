-- The provider that a session was begun with, and the session there; NULL: a password or a one-time link.
ALTER TABLE sessions ADD COLUMN provider_id TEXT;
ALTER TABLE sessions ADD COLUMN provider_sid TEXT;
CREATE INDEX sessions_provider ON sessions (provider_id) WHERE provider_id IS NOT NULL;

-- Logout tokens that were accepted, so that none ends sessions twice.
CREATE TABLE logout_tokens (
    provider_id TEXT NOT NULL,
    jti TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (provider_id, jti)
);
CREATE INDEX logout_tokens_expire ON logout_tokens (expires_at);
-- Earlier programs can run on it: they know no providers, and 0060 excludes them anyway.
