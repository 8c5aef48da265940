-- Evidence by source knows the instance label that a caller may send, and how long its longest pause was. A row can
-- gather sources that are not kept one by one: those of one address, or, without an address, all others.
CREATE TABLE secret_usage_callers (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    source_ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    instance TEXT NOT NULL,
    gathered BIGINT NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    use_count BIGINT NOT NULL,
    longest_pause BIGINT NOT NULL,
    PRIMARY KEY (secret_id, source_ip, user_agent, instance, gathered)
);
INSERT INTO secret_usage_callers
    SELECT secret_id, source_ip, user_agent, '', CASE WHEN source_ip = '' THEN 1 ELSE 0 END,
        first_used_at, last_used_at, use_count, last_used_at - first_used_at
    FROM secret_usage_sources;
DROP TABLE secret_usage_sources;
ALTER TABLE secret_usage_callers RENAME TO secret_usage_sources;

-- Uses over time. A grain is its length in seconds: 60, 3600, 86400. A bucket is a number of grains since 1970.
CREATE TABLE secret_usage_series (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    grain BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    use_count BIGINT NOT NULL,
    PRIMARY KEY (secret_id, grain, bucket)
);
CREATE INDEX secret_usage_series_age ON secret_usage_series (grain, bucket);
INSERT INTO secret_usage_series SELECT secret_id, 60, span * 15, use_count FROM secret_usage_spans;
INSERT INTO secret_usage_series
    SELECT secret_id, 3600, span / 4, CAST(SUM(use_count) AS BIGINT) FROM secret_usage_spans GROUP BY secret_id, span / 4;
INSERT INTO secret_usage_series
    SELECT secret_id, 86400, span / 96, CAST(SUM(use_count) AS BIGINT) FROM secret_usage_spans GROUP BY secret_id, span / 96;
DROP TABLE secret_usage_spans;

-- Up to when evidence is stored, and whether a server has begun to record and not stopped in order.
CREATE TABLE evidence_state (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    recorded_until BIGINT NOT NULL,
    recording BIGINT NOT NULL
);

-- Times of which nothing, or not everything, is recorded.
CREATE TABLE evidence_gaps (
    began_at BIGINT PRIMARY KEY,
    ended_at BIGINT NOT NULL,
    kind TEXT NOT NULL
);
