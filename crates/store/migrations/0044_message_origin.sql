-- Kind of the actor that a message reports, and the stored form of the address that it acted from. NULL for earlier
-- messages.
-- Earlier programs can run on it: they leave both out.
ALTER TABLE notifications ADD COLUMN actor_kind TEXT;
ALTER TABLE notifications ADD COLUMN source TEXT;
