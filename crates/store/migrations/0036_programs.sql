-- The registration that an API token is limited to; NULL: it has no such limit.
ALTER TABLE api_tokens ADD COLUMN only_client TEXT;
ALTER TABLE api_tokens ADD COLUMN only_environment TEXT;
-- Whether the client of a registration can rotate its secret with the secret itself.
ALTER TABLE registrations ADD COLUMN self_rotation BIGINT NOT NULL DEFAULT 0;

-- Earlier programs would give such a token every registration of its owner.
UPDATE oldest_program SET schema_version = 36, program_version = '0.1.0' WHERE one = 1;
