-- Failed sign-ins of a network, an account or a session, by a keyed digest of it, until they are forgiven.
CREATE TABLE sign_in_failures (
    subject TEXT PRIMARY KEY,
    forgiven_at BIGINT NOT NULL
);
-- Earlier programs can run on it: each counts what it sees itself.
