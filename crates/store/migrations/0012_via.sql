-- Credential, command or policy through which an event was done; NULL for events recorded before this migration.
ALTER TABLE audit_events ADD COLUMN via_kind TEXT;
ALTER TABLE audit_events ADD COLUMN via_id TEXT;
CREATE INDEX audit_events_via ON audit_events (via_id, seq);
