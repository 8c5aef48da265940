-- Open deliveries are few among those of 30 days, and so are the abandoned ones. No other index begins with the channel alone
-- where it could be preferred.
DROP INDEX deliveries_recipient;
CREATE INDEX deliveries_log ON deliveries (recipient, created_at, id);
CREATE INDEX deliveries_open ON deliveries (channel, next_attempt_at) WHERE sent_at IS NULL AND abandoned_at IS NULL;
CREATE INDEX deliveries_abandoned ON deliveries (channel, abandoned_at) WHERE abandoned_at IS NOT NULL;
-- Earlier programs can run on it: they use the indexes that there are.
