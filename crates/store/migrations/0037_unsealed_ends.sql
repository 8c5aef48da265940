-- Noted ends contain no sealed data key any more. Earlier programs cannot read such an end, and would copy seals to ends.
UPDATE oldest_program SET schema_version = 37, program_version = '0.1.0' WHERE one = 1;
