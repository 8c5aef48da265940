-- What a message says beside its facts, and its number among the messages of its registration. NULL for earlier messages.
ALTER TABLE notifications ADD COLUMN number BIGINT;
ALTER TABLE notifications ADD COLUMN client_name TEXT;
ALTER TABLE notifications ADD COLUMN actor_name TEXT;
ALTER TABLE notifications ADD COLUMN reason TEXT;
ALTER TABLE registrations ADD COLUMN message_count BIGINT NOT NULL DEFAULT 0;

-- One message to one recipient. Rows are written only while the channel is set up, and are in no backup.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    notification_id TEXT NOT NULL REFERENCES notifications (id),
    channel TEXT NOT NULL,
    recipient TEXT NOT NULL,
    -- No recipient gets two messages for one cause.
    cause TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- From this time on the message is of no use and is not sent.
    not_after BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL,
    leased_until BIGINT,
    leased_by TEXT,
    last_error TEXT,
    sent_at BIGINT,
    abandoned_at BIGINT,
    abandoned_as TEXT,
    UNIQUE (channel, recipient, cause)
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE sent_at IS NULL AND abandoned_at IS NULL;
CREATE INDEX deliveries_notification ON deliveries (notification_id);

-- Earlier programs would delete old messages that still have deliveries.
UPDATE oldest_program SET schema_version = 34, program_version = '0.1.0' WHERE one = 1;
