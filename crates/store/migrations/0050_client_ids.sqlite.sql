-- SQLite cannot drop a constraint, so the table is written again. The references to it are checked at the commit, when
-- every row has its place again.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE registrations_before AS SELECT * FROM registrations;
DROP TABLE registrations;
CREATE TABLE registrations (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients (id),
    environment TEXT NOT NULL REFERENCES environments (slug),
    oauth_client_id TEXT NOT NULL,
    auth_basic BIGINT NOT NULL,
    auth_post BIGINT NOT NULL,
    scopes TEXT NOT NULL,
    audience TEXT,
    access_token_ttl_seconds BIGINT NOT NULL,
    may_introspect BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    -- Tokens issued before the lifetime was last shortened have ended by then.
    earlier_tokens_end_at BIGINT,
    version BIGINT NOT NULL,
    enabled_at BIGINT,
    token_generation BIGINT NOT NULL DEFAULT 0,
    allowed_networks TEXT,
    message_count BIGINT NOT NULL DEFAULT 0,
    self_rotation BIGINT NOT NULL DEFAULT 0,
    UNIQUE (client_id, environment)
);
INSERT INTO registrations (id, client_id, environment, oauth_client_id, auth_basic, auth_post, scopes, audience,
        access_token_ttl_seconds, may_introspect, created_at, disabled_at, earlier_tokens_end_at, version, enabled_at,
        token_generation, allowed_networks, message_count, self_rotation)
    SELECT id, client_id, environment, oauth_client_id, auth_basic, auth_post, scopes, audience,
        access_token_ttl_seconds, may_introspect, created_at, disabled_at, earlier_tokens_end_at, version, enabled_at,
        token_generation, allowed_networks, message_count, self_rotation
    FROM registrations_before;
DROP TABLE registrations_before;
