-- People whom a provider provisions.
CREATE TABLE scim_users (
    id TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES providers (id),
    external_id TEXT NOT NULL,
    -- Email address, in lower case.
    user_name TEXT NOT NULL,
    -- Names and addresses, as JSON.
    details TEXT NOT NULL,
    -- The account; NULL: the person is not active.
    user_id TEXT REFERENCES users (id),
    -- Whether a sign-in with this external_id leads to the account: provisioning created it, and nobody else can be in it.
    lets_in BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX scim_users_external_id ON scim_users (provider_id, external_id);
CREATE UNIQUE INDEX scim_users_user_name ON scim_users (provider_id, user_name);
CREATE INDEX scim_users_created ON scim_users (provider_id, created_at, id);
CREATE UNIQUE INDEX scim_users_account ON scim_users (user_id, provider_id) WHERE user_id IS NOT NULL;

-- Groups that a provider provisions.
CREATE TABLE scim_groups (
    id TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES providers (id),
    external_id TEXT,
    name TEXT NOT NULL,
    -- Folded, so that no two groups differ by case alone.
    name_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX scim_groups_name ON scim_groups (provider_id, name_key);
CREATE INDEX scim_groups_created ON scim_groups (provider_id, created_at, id);

CREATE TABLE scim_members (
    group_id TEXT NOT NULL REFERENCES scim_groups (id),
    member_id TEXT NOT NULL REFERENCES scim_users (id),
    added_at BIGINT NOT NULL,
    PRIMARY KEY (group_id, member_id)
);
CREATE INDEX scim_members_member ON scim_members (member_id);
-- Earlier programs can run on it: they provision nobody, and 0070 excludes them anyway.
