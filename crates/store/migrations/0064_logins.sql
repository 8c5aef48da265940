-- Command lines that a person approved in the browser, until they get their API token: minutes.
CREATE TABLE logins (
    digest {BLOB} PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE REFERENCES users (id),
    session_id TEXT NOT NULL,
    challenge TEXT NOT NULL,
    -- As JSON: name, days and permissions of the token.
    token TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
-- Earlier programs can run on it: they sign in no command line.
