-- What the clients of a property can be registered for in an environment. No row: any scope, and the issuer alone as
-- audience.
CREATE TABLE limits (
    property_id TEXT NOT NULL REFERENCES properties (id),
    environment TEXT NOT NULL REFERENCES environments (slug),
    -- A JSON list.
    audiences TEXT NOT NULL,
    -- Space-separated; NULL: any.
    scopes TEXT,
    version BIGINT NOT NULL,
    PRIMARY KEY (property_id, environment)
);
CREATE INDEX limits_environment ON limits (environment);
