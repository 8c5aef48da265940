-- Which instance this database belongs to. The binding opens under the instance's master key alone.
CREATE TABLE instance (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    binding {BLOB} NOT NULL,
    created_at BIGINT NOT NULL
);

-- Counts the processes that have served this database. A change by a process whose term has passed is refused.
ALTER TABLE head ADD COLUMN term BIGINT NOT NULL DEFAULT 0;
