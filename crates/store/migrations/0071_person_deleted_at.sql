-- When provisioning last forgot a person; NULL: never. A sign-in that began before then creates no account.
ALTER TABLE providers ADD COLUMN person_deleted_at BIGINT;
-- Providers look groups up by their own ID.
CREATE INDEX scim_groups_external_id ON scim_groups (provider_id, external_id);
-- Earlier programs can run on it: they neither read nor write the column.
