-- Running hash over the ends, so that histories with the same number of ends are told apart; NULL for ends that were noted
-- before this migration. It continues from the head.
ALTER TABLE head ADD COLUMN end_hash {BLOB};
ALTER TABLE ends ADD COLUMN hash {BLOB};

-- Earlier programs would note ends without their hash.
UPDATE oldest_program SET schema_version = 33, program_version = '0.1.0' WHERE one = 1;
