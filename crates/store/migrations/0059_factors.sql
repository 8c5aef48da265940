-- Second factors of people. Without confirmed_at, a factor counts for nothing.
CREATE TABLE factors (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The shared secret.
    sealed {BLOB} NOT NULL,
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    last_used_at BIGINT,
    -- The step of the last accepted code: no code of this step or an earlier one is accepted again.
    last_step BIGINT NOT NULL
);
CREATE INDEX factors_of_user ON factors (user_id);
-- By keyed digest. A used code is deleted.
CREATE TABLE recovery_codes (
    digest {BLOB} PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX recovery_codes_of_user ON recovery_codes (user_id);
-- Sign-ins whose password was right, and that wait for the code of a second factor, by keyed digest of their cookie. They
-- end with the password.
CREATE TABLE pending_sign_ins (
    digest {BLOB} PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- Whether the browser was known to the account.
    is_known BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    wrong_codes BIGINT NOT NULL
);
CREATE INDEX pending_sign_ins_of_user ON pending_sign_ins (user_id);
CREATE INDEX pending_sign_ins_expiry ON pending_sign_ins (expires_at);
-- Whom the instance asks for a second factor, and who can sign in with a password; no row: nobody, and everyone.
CREATE TABLE sign_in_policy (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    second_factor TEXT NOT NULL,
    told_at BIGINT,
    secret_roles_told_at BIGINT,
    passwords TEXT NOT NULL,
    -- JSON list of accounts.
    break_glass TEXT NOT NULL,
    -- When passwords were switched on again.
    passwords_on_since BIGINT,
    version BIGINT NOT NULL
);
-- Earlier programs would sign in without the code, and accept the passwords of everyone.
UPDATE oldest_program SET schema_version = 59, program_version = '0.1.0' WHERE one = 1;
