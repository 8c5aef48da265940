-- Clients that are not registered in an environment in front of another issuer, and to which that issuer gave tokens. The row
-- without a client_id is the sum of all other requests that were passed on.
CREATE TABLE unregistered_clients (
    environment TEXT NOT NULL REFERENCES environments (slug),
    client_id TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    -- 0 in the row of the sum, which is listed last.
    last_token_at BIGINT NOT NULL,
    accepted_count BIGINT NOT NULL,
    refused_count BIGINT NOT NULL,
    failed_count BIGINT NOT NULL,
    last_status BIGINT,
    -- As JSON: how it authenticated, and from which addresses, when it got tokens.
    methods TEXT NOT NULL,
    sources TEXT NOT NULL,
    PRIMARY KEY (environment, client_id)
);
-- Earlier programs can run on it: they keep nothing about such clients.
