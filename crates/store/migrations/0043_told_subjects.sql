-- What a row is about, such as the networks of one account, so that rows are counted by an index; NULL for earlier rows.
ALTER TABLE told ADD COLUMN subject TEXT;
CREATE INDEX told_subject ON told (subject, told_at) WHERE subject IS NOT NULL;
CREATE INDEX told_at ON told (told_at);

-- Earlier programs can run on it: they write rows without a subject, which are counted as those of nobody.
