-- Keyed digest of the value of a secret alone, by which a secret that was found somewhere is recognised, and its key. NULL
-- until the value is seen again, and after the key was deleted.
ALTER TABLE secrets ADD COLUMN value_digest {BLOB};
ALTER TABLE secrets ADD COLUMN value_digest_key TEXT;
CREATE INDEX secrets_by_value ON secrets (value_digest);
CREATE INDEX secrets_without_value_digest ON secrets (id) WHERE value_digest IS NULL;

-- Earlier programs can run on it: the secrets that they create have no digest of the value until a later program sees the
-- value.
