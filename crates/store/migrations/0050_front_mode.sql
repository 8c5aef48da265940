-- Environments in front of another issuer. Their client_ids are given by that issuer, so a client_id is unique in its
-- environment only.
ALTER TABLE environments ADD COLUMN issuer_mode TEXT NOT NULL DEFAULT 'own';
-- The issuer as JSON; NULL while the environment issues its own tokens.
ALTER TABLE environments ADD COLUMN upstream TEXT;
{CLIENT_IDS}
CREATE UNIQUE INDEX registrations_client_id ON registrations (environment, oauth_client_id);
-- Searches do not know the environment.
CREATE INDEX registrations_any_client_id ON registrations (oauth_client_id);
-- Earlier programs would issue tokens of their own in such an environment.
UPDATE oldest_program SET schema_version = 50, program_version = '0.1.0' WHERE one = 1;
