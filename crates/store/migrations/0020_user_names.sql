-- What the names of accounts are searched and sorted by. NULL until the program has folded the name: databases fold differently.
ALTER TABLE users ADD COLUMN name_key TEXT;
