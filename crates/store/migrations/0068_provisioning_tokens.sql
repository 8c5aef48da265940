-- Tokens with which providers provision people and groups.
CREATE TABLE provisioning_tokens (
    id TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES providers (id),
    -- Keyed.
    digest {BLOB} NOT NULL UNIQUE,
    -- Networks it can be used from, separated by spaces; NULL: any.
    allowed_networks TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX provisioning_tokens_provider ON provisioning_tokens (provider_id);
-- Earlier programs can run on it: they do not accept these tokens.
