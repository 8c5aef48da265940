-- How soon a message must be seen: 0 wakes somebody, 1 is for today, 2 is a digest. The most urgent mail is sent first.
-- Earlier programs can run on it: they queue everything for today, and send the longest due first.
ALTER TABLE deliveries ADD COLUMN urgency BIGINT NOT NULL DEFAULT 1;
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries (channel, urgency, next_attempt_at) WHERE sent_at IS NULL AND abandoned_at IS NULL;
