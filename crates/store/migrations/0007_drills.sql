-- Windows in which a retiring secret is refused. They follow from the beginning, the length, the number and the
-- distance, and end at the stop, if any. `ends_at` is the end of the last one, or the stop.
CREATE TABLE drills (
    id TEXT PRIMARY KEY,
    registration_id TEXT NOT NULL REFERENCES registrations (id),
    number BIGINT NOT NULL,
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    scheduled_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    length_seconds BIGINT NOT NULL,
    repeat_count BIGINT NOT NULL,
    every_seconds BIGINT,
    ends_at BIGINT NOT NULL,
    stopped_at BIGINT,
    stopped_as TEXT,
    stopper_kind TEXT,
    stopper_id TEXT,
    stopper_name TEXT,
    told_at BIGINT,
    UNIQUE (registration_id, number)
);
CREATE INDEX drills_of_secret ON drills (secret_id, number);
CREATE INDEX drills_untold ON drills (ends_at) WHERE told_at IS NULL;

-- Who presented the old secret in a window and was refused. A row can gather callers that are not kept one by one:
-- those of one address, or, without an address, all others.
CREATE TABLE drill_callers (
    drill_id TEXT NOT NULL REFERENCES drills (id),
    source_ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    instance TEXT NOT NULL,
    gathered BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    refusal_count BIGINT NOT NULL,
    PRIMARY KEY (drill_id, source_ip, user_agent, instance, gathered)
);
