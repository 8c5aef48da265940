-- By how many hours the guard may extend a deadline at a time; none: it does not.
ALTER TABLE environments ADD COLUMN guard_extension_hours BIGINT;

-- What the owners were told of a deadline: once at each mark. A deadline that is moved has marks of its own.
-- `extended_to` is the deadline that the policy gave at this mark.
CREATE TABLE deadline_warnings (
    rotation_id TEXT NOT NULL REFERENCES rotations (id),
    deadline BIGINT NOT NULL,
    mark_hours BIGINT NOT NULL,
    told_at BIGINT NOT NULL,
    extended_to BIGINT,
    PRIMARY KEY (rotation_id, deadline, mark_hours)
);
