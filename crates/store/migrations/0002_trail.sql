-- Where a request came from, and its id in the log.
ALTER TABLE audit_events ADD COLUMN source_ip TEXT;
ALTER TABLE audit_events ADD COLUMN request_id TEXT;
CREATE INDEX audit_events_at ON audit_events (at);

-- Whether the hour of this row has been summed in the trail.
ALTER TABLE authentication_failures ADD COLUMN summed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX authentication_failures_unsummed ON authentication_failures (hour) WHERE summed = 0;
CREATE INDEX authentication_failures_last ON authentication_failures (last_at);

-- Grants on a property or a client end with it.
CREATE INDEX grants_property ON grants (property_id) WHERE property_id IS NOT NULL;
CREATE INDEX grants_client ON grants (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX users_page ON users (created_at, id) WHERE deleted_at IS NULL;
