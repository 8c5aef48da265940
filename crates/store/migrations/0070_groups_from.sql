-- Claim of the ID token that says who a person is in provisioning.
ALTER TABLE providers ADD COLUMN external_id_claim TEXT NOT NULL DEFAULT 'sub';
-- Where groups come from: the claim, or provisioning.
ALTER TABLE providers ADD COLUMN groups_from TEXT NOT NULL DEFAULT 'claim';

-- Value of that claim at the last sign-in; NULL: not known yet.
ALTER TABLE identities ADD COLUMN external_id TEXT;
UPDATE identities SET external_id = subject;
CREATE INDEX identities_external_id ON identities (provider_id, external_id);

-- Earlier programs would let a person sign in whom the provider has deactivated, and remove roles that provisioning gave.
UPDATE oldest_program SET schema_version = 70, program_version = '0.1.0' WHERE one = 1;
