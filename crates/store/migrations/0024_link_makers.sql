-- Credential through which a one-time link was made; the link ends with the credential. Both NULL: the machine, or a link
-- from before this migration.
ALTER TABLE links ADD COLUMN maker_session TEXT;
ALTER TABLE links ADD COLUMN maker_token TEXT;
-- No account makes a link to itself.
DELETE FROM links WHERE used_at IS NULL AND created_by = user_id;

-- Accounts that made a link of an account since an Owner last let its person in.
CREATE TABLE link_makers (
    account_id TEXT NOT NULL,
    maker_id TEXT NOT NULL,
    PRIMARY KEY (account_id, maker_id)
);
-- The trail names the makers of earlier links.
INSERT INTO link_makers (account_id, maker_id)
SELECT DISTINCT e.target, e.actor_id FROM audit_events e JOIN users u ON u.id = e.target
WHERE e.action = 'link.created' AND e.outcome = 'done' AND e.actor_kind IN ('user', 'program') AND e.actor_id <> e.target;
