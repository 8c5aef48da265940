-- Who presented a secret that was recognised and was refused: in a window of a drill, or, without one, because the
-- registration was disabled, takes no secret that is presented in this way, or because the secret had ended. A row can gather callers that are not kept one by one: those of one address, or, without an address, all
-- others.
CREATE TABLE refused_callers (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    drill_id TEXT NOT NULL,
    source_ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    instance TEXT NOT NULL,
    gathered BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    refusal_count BIGINT NOT NULL,
    PRIMARY KEY (secret_id, drill_id, source_ip, user_agent, instance, gathered)
);
INSERT INTO refused_callers
    SELECT d.secret_id, c.drill_id, c.source_ip, c.user_agent, c.instance, c.gathered, c.first_at, c.last_at, c.refusal_count
    FROM drill_callers c JOIN drills d ON d.id = c.drill_id;
DROP TABLE drill_callers;
CREATE INDEX refused_callers_drill ON refused_callers (drill_id, last_at);
