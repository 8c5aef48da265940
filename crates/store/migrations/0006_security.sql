-- Who made a one-time link: it ends with their right to make it. Nobody: made at the machine.
ALTER TABLE links ADD COLUMN created_by TEXT REFERENCES users (id);
-- Who made those that are on their way is not known. They live for a day at most; another is made in a moment.
DELETE FROM links WHERE purpose = 'password';

-- The trail is read by action.
CREATE INDEX audit_events_action ON audit_events (action, seq);
