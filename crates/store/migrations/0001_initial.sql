-- Times are microseconds since 1970 UTC. A state is a nullable time. {BLOB} is the engine's type for bytes.

-- The one row that every change locks first. It orders changes, so that the order of the log is the order
-- of the commits, and it keeps the highest time at which anything was ever written.
CREATE TABLE head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    change_seq BIGINT NOT NULL,
    audit_seq BIGINT NOT NULL,
    highest_time BIGINT NOT NULL
);
INSERT INTO head (one, change_seq, audit_seq, highest_time) VALUES (1, 0, 0, 0);

-- What a node's tables must learn, in commit order.
CREATE TABLE change_log (
    seq BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL
);

-- Keys that seal values and hash secrets, themselves sealed under the master key outside the database.
CREATE TABLE data_keys (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    sealed {BLOB} NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE properties (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE environments (
    slug TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    position BIGINT NOT NULL,
    signing_alg TEXT NOT NULL,
    show_once BIGINT NOT NULL,
    wipe_after_days BIGINT NOT NULL,
    max_age_days BIGINT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    environment TEXT NOT NULL REFERENCES environments (slug),
    alg TEXT NOT NULL,
    sealed {BLOB} NOT NULL,
    created_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX signing_keys_environment ON signing_keys (environment);

CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    property_id TEXT NOT NULL REFERENCES properties (id),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    description TEXT NOT NULL,
    owners TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX clients_name ON clients (property_id, name_key) WHERE deleted_at IS NULL;
CREATE INDEX clients_page ON clients (created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE registrations (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES clients (id),
    environment TEXT NOT NULL REFERENCES environments (slug),
    oauth_client_id TEXT NOT NULL UNIQUE,
    auth_basic BIGINT NOT NULL,
    auth_post BIGINT NOT NULL,
    scopes TEXT NOT NULL,
    audience TEXT,
    access_token_ttl_seconds BIGINT NOT NULL,
    may_introspect BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    -- Tokens issued before the lifetime was last shortened have ended by then.
    earlier_tokens_end_at BIGINT,
    version BIGINT NOT NULL,
    UNIQUE (client_id, environment)
);

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    registration_id TEXT NOT NULL REFERENCES registrations (id),
    number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    digest {BLOB} NOT NULL,
    digest_key TEXT NOT NULL,
    sealed {BLOB},
    tokens_revoked_at BIGINT,
    compromised_at BIGINT,
    expiry_noted_at BIGINT,
    UNIQUE (registration_id, number)
);
-- What sweepers look for: deadlines not yet noted, and values to wipe.
CREATE INDEX secrets_deadline ON secrets (expires_at) WHERE expires_at IS NOT NULL AND expiry_noted_at IS NULL;
-- Rule 1 in the schema: at most one secret of a registration is without an end.
CREATE UNIQUE INDEX secrets_one_current ON secrets (registration_id) WHERE expires_at IS NULL AND revoked_at IS NULL;

CREATE TABLE rotations (
    id TEXT PRIMARY KEY,
    registration_id TEXT NOT NULL REFERENCES registrations (id),
    number BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    rotated_at BIGINT NOT NULL,
    transition_hours BIGINT NOT NULL CHECK (transition_hours BETWEEN 0 AND 168),
    reason TEXT NOT NULL,
    compromised BIGINT NOT NULL,
    outgoing_secret_id TEXT NOT NULL REFERENCES secrets (id),
    incoming_secret_id TEXT NOT NULL REFERENCES secrets (id),
    ended_as TEXT,
    ended_at BIGINT,
    UNIQUE (registration_id, number)
);

-- Evidence of use: one row a secret, and one row a secret and source.
CREATE TABLE secret_usage (
    secret_id TEXT PRIMARY KEY REFERENCES secrets (id),
    first_used_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    use_count BIGINT NOT NULL
);
CREATE TABLE secret_usage_sources (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    source_ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    use_count BIGINT NOT NULL,
    PRIMARY KEY (secret_id, source_ip, user_agent)
);

-- Failed client authentications, gathered by the hour. Empty texts stand for what is not known.
CREATE TABLE authentication_failures (
    hour BIGINT NOT NULL,
    registration_id TEXT NOT NULL,
    secret_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    source_ip TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    failure_count BIGINT NOT NULL,
    PRIMARY KEY (hour, registration_id, secret_id, reason, source_ip)
);
CREATE INDEX authentication_failures_registration ON authentication_failures (registration_id, hour);

-- Access tokens revoked by their clients (RFC 7009), until they would have ended anyway.
CREATE TABLE revoked_tokens (
    jti TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    email TEXT UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    version BIGINT NOT NULL
);

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    property_id TEXT,
    client_id TEXT,
    environments TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX grants_user ON grants (user_id);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    digest {BLOB} NOT NULL UNIQUE,
    scope TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    deleted_at BIGINT
);

-- One-time links: set-up (nobody's yet), recovery, activation.
CREATE TABLE links (
    digest {BLOB} PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_id TEXT REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE TABLE audit_events (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    client_id TEXT,
    environment TEXT,
    target TEXT,
    reason TEXT,
    details TEXT NOT NULL
);
CREATE INDEX audit_events_client ON audit_events (client_id, seq);
CREATE INDEX audit_events_actor ON audit_events (actor_id, seq);

-- Answers remembered for a repeated Idempotency-Key. A value in them is sealed and short-lived.
CREATE TABLE idempotency (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request {BLOB} NOT NULL,
    created_at BIGINT NOT NULL,
    reply TEXT NOT NULL,
    sealed {BLOB},
    PRIMARY KEY (actor, key)
);

-- Messages to owners, written with the change that they tell of.
CREATE TABLE notifications (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    event TEXT NOT NULL,
    client_id TEXT,
    environment TEXT,
    recipients TEXT NOT NULL,
    details TEXT NOT NULL
);
