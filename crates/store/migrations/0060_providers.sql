-- OpenID Connect providers with which people sign in.
CREATE TABLE providers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    -- Sealed; NULL without one.
    client_secret {BLOB},
    client_authentication TEXT NOT NULL,
    -- JSON lists.
    scopes TEXT NOT NULL,
    domains TEXT NOT NULL,
    groups_claim TEXT NOT NULL,
    acr_values TEXT NOT NULL,
    group_grants TEXT NOT NULL,
    disabled_at BIGINT,
    -- The identities of its people keep it, without its secret.
    deleted_at BIGINT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX providers_created ON providers (created_at, id);

-- The account of each subject of a provider.
CREATE TABLE identities (
    provider_id TEXT NOT NULL REFERENCES providers (id),
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- Whether the account was created with it. Anyone who was in the account can have linked another one.
    created_account BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    PRIMARY KEY (provider_id, subject)
);
CREATE UNIQUE INDEX identities_user ON identities (user_id, provider_id);

-- The provider and the group that give a role; NULL: it was granted here.
ALTER TABLE grants ADD COLUMN provider_id TEXT;
ALTER TABLE grants ADD COLUMN provider_group TEXT;
CREATE INDEX grants_provider ON grants (provider_id) WHERE provider_id IS NOT NULL;

-- Earlier programs would let people remove such roles, and close an account without ending its identities.
UPDATE oldest_program SET schema_version = 60, program_version = '0.1.0' WHERE one = 1;
