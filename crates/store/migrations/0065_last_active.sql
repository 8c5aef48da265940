-- Last request of an account in a session or with an API token, to the minute. Rows of sessions are kept for 30 days only.
ALTER TABLE users ADD COLUMN last_active_at BIGINT;
UPDATE users SET last_active_at = (
    SELECT MAX(used.at) FROM (
        SELECT user_id, last_seen_at AS at FROM sessions
        UNION ALL SELECT user_id, last_used_at FROM api_tokens WHERE last_used_at IS NOT NULL
    ) AS used WHERE used.user_id = users.id
);
-- Earlier programs can run on it: they do not keep it up to date.
