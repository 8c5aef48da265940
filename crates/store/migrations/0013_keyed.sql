-- Digests of credentials are made with a key that the database does not hold. A row with 0 has a digest of an older
-- version; the next server that starts replaces it (see crates/app/src/carry_over.rs).
ALTER TABLE api_tokens ADD COLUMN keyed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN keyed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE links ADD COLUMN keyed BIGINT NOT NULL DEFAULT 0;
