-- Who can sign in with a password; no row: everyone. `break_glass` is a JSON list of accounts.
CREATE TABLE password_policy (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    passwords TEXT NOT NULL,
    break_glass TEXT NOT NULL,
    version BIGINT NOT NULL
);
-- Earlier programs would accept the passwords of everyone.
UPDATE oldest_program SET schema_version = 62, program_version = '0.1.0' WHERE one = 1;
