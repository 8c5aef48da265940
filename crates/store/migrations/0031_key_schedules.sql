-- Days after which a signing key is replaced on a schedule; none: only on request.
ALTER TABLE environments ADD COLUMN signing_key_rotation_days BIGINT;
-- An earlier program takes a data key with the purpose `root` for one that seals values.
UPDATE oldest_program SET schema_version = 31, program_version = '0.1.0' WHERE one = 1;
