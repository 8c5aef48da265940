-- Name of the time zone of a person; NULL: messages show UTC alone.
ALTER TABLE users ADD COLUMN time_zone TEXT;

-- Earlier programs can run on it: they show UTC alone.
