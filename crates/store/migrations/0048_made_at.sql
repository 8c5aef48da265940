-- When a change was made. Two histories of one database can have changes with one number, but not of one time.
ALTER TABLE change_log ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
-- Earlier programs do not say it.
UPDATE oldest_program SET schema_version = 48, program_version = '0.1.0' WHERE one = 1;
