-- A time that the clock of the tokens has shown, and for how many microseconds servers have run since without the clock
-- showing an earlier one: until when revocations of tokens are kept.
ALTER TABLE head ADD COLUMN passed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN passed_ran BIGINT NOT NULL DEFAULT 0;
