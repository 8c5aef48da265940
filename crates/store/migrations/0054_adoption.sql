-- Until when an environment in front of another issuer learns the secrets that the issuer accepts.
ALTER TABLE environments ADD COLUMN adopt_until BIGINT;
-- Whether a secret was generated here, or learned.
ALTER TABLE secrets ADD COLUMN origin TEXT NOT NULL DEFAULT 'generated';
-- Registrations that were created without a secret, to learn it.
CREATE TABLE adoptions (
    registration_id TEXT PRIMARY KEY REFERENCES registrations (id),
    begun_at BIGINT NOT NULL,
    -- When the issuer was asked whether it accepts a secret that nobody has; NULL until then.
    tested_at BIGINT,
    -- Whether it accepted that: the client is public, and nothing is learned.
    is_public BIGINT NOT NULL DEFAULT 0
);
-- Earlier programs can run on it: they learn nothing, and cannot rotate a registration that has no secret yet.
