-- The accounts that can come into an account: its creator, the maker of its last link, and the maker of the link by
-- which its password was set. NULL is the machine, or an account whose beginning the trail no longer holds.
ALTER TABLE users ADD COLUMN created_by TEXT;
ALTER TABLE users ADD COLUMN linked_by TEXT;
ALTER TABLE users ADD COLUMN entered_by TEXT;
-- The permissions that the token of such a link's maker was limited to, as JSON; NULL if it was not limited.
ALTER TABLE users ADD COLUMN entered_scope TEXT;
ALTER TABLE links ADD COLUMN maker_scope TEXT;

-- The trail names the makers of existing accounts.
UPDATE users SET created_by = made.actor_id FROM (
    SELECT e.target, e.actor_id FROM audit_events e
    WHERE e.action = 'user.created' AND e.outcome = 'done' AND e.actor_kind IN ('user', 'program')
) AS made WHERE made.target = users.id;
UPDATE users SET linked_by = made.actor_id, entered_by = made.actor_id FROM (
    SELECT e.target, e.actor_id FROM audit_events e JOIN (
        SELECT target, MAX(seq) AS seq FROM audit_events
        WHERE action = 'link.created' AND outcome = 'done' GROUP BY target
    ) AS latest ON latest.seq = e.seq
    WHERE e.actor_kind IN ('user', 'program')
) AS made WHERE made.target = users.id;
