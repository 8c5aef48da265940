-- When a registration that was disabled was enabled again: what was quiet before says nothing.
ALTER TABLE registrations ADD COLUMN enabled_at BIGINT;
