-- URLs that get messages about the platform (neither property nor client), a property or a client.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    property_id TEXT,
    client_id TEXT,
    -- JSON lists; empty: all.
    environments TEXT NOT NULL,
    events TEXT NOT NULL,
    format TEXT NOT NULL,
    -- Sealed. The earlier secret signs as well until its time.
    signing_secret {BLOB} NOT NULL,
    previous_secret {BLOB},
    previous_until BIGINT,
    routing_key {BLOB},
    created_at BIGINT NOT NULL,
    -- The account that is told when the webhook is disabled.
    created_by TEXT NOT NULL,
    disabled_at BIGINT,
    disabled_as TEXT,
    -- The first and the last failure since the last success; NULL after a success.
    failing_since BIGINT,
    last_failure_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX webhooks_created ON webhooks (created_at, id);

-- What is shown of the last attempt of a delivery.
ALTER TABLE deliveries ADD COLUMN last_status BIGINT;
ALTER TABLE deliveries ADD COLUMN last_duration_ms BIGINT;
-- When a person last asked to send it again; NULL: never.
ALTER TABLE deliveries ADD COLUMN replayed_at BIGINT;
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (channel, recipient, next_attempt_at) WHERE sent_at IS NULL AND abandoned_at IS NULL;
CREATE INDEX deliveries_recipient ON deliveries (channel, recipient, created_at, id);

-- Earlier programs would mail what is queued for a webhook.
UPDATE oldest_program SET schema_version = 38, program_version = '0.1.0' WHERE one = 1;
