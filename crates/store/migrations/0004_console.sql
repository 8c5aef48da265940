-- The Console lists clients by name.
CREATE INDEX clients_by_name ON clients (name_key, id) WHERE deleted_at IS NULL;

-- And looks for current secrets that are older than they should be.
CREATE INDEX secrets_current_age ON secrets (created_at) WHERE expires_at IS NULL AND revoked_at IS NULL;

-- Use over time while a transition runs, in spans of 15 minutes: what the picture of a transition is drawn from.
CREATE TABLE secret_usage_spans (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    -- Spans since 1970.
    span BIGINT NOT NULL,
    use_count BIGINT NOT NULL,
    PRIMARY KEY (secret_id, span)
);
CREATE INDEX secret_usage_spans_age ON secret_usage_spans (span);
