-- Access tokens that OAuth clients revoked, counted by hour, registration, secret and address until their sum is in the
-- trail. An empty address stands for all others.
CREATE TABLE token_revocations (
    hour BIGINT NOT NULL,
    registration_id TEXT NOT NULL REFERENCES registrations (id),
    secret_id TEXT NOT NULL,
    source_ip TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    revocation_count BIGINT NOT NULL,
    PRIMARY KEY (hour, registration_id, secret_id, source_ip)
);
-- Access tokens of an earlier generation of a registration have ended: it grows whenever the registration is disabled.
ALTER TABLE registrations ADD COLUMN token_generation BIGINT NOT NULL DEFAULT 0;
UPDATE registrations SET token_generation = 1 WHERE disabled_at IS NOT NULL;
