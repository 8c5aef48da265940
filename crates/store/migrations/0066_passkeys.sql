-- The ID of a passkey, base64url; NULL: another kind of factor. A passkey belongs to one account.
ALTER TABLE factors ADD COLUMN credential_id TEXT;
-- Whether a passkey signs in without the password: not from a new password on, until it was used after that.
ALTER TABLE factors ADD COLUMN signs_in_alone BIGINT NOT NULL DEFAULT 1;
CREATE UNIQUE INDEX factors_credential ON factors (credential_id);
-- Challenges of passkeys that were answered, by digest, so that no answer is accepted twice.
CREATE TABLE passkey_challenges (
    digest {BLOB} PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_challenges_expiry ON passkey_challenges (expires_at);
-- Earlier programs cannot read factors of this kind.
UPDATE oldest_program SET schema_version = 66, program_version = '0.1.0' WHERE one = 1;
