-- Clients about whom nobody is notified, as `owners_json` writes an empty list.
CREATE INDEX clients_ownerless ON clients (created_at, id) WHERE deleted_at IS NULL AND owners = '[]';

-- People who have said that they know of a running transition.
CREATE TABLE seen (
    rotation_id TEXT NOT NULL REFERENCES rotations (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (rotation_id, user_id)
);

-- Messages that are switched off: for an account or for a client (subject), a kind or a class of messages (word).
CREATE TABLE messages_off (
    subject TEXT NOT NULL,
    word TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (subject, word)
);

-- Earlier programs can run on it: they send what is switched off, and hand over no clients of a deleted account.
