-- One row. generation: counts changes of all the tables below but key_uses; whoever changes them holds it. seal_key, seal_check: the id of
-- the master key that secrets are sealed under, and something that only it opens; NULL until there is one.
CREATE TABLE identity_state (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    generation BIGINT NOT NULL,
    seal_key TEXT,
    seal_check TEXT,
    CHECK ((seal_key IS NULL) = (seal_check IS NULL))
);
INSERT INTO identity_state (one, generation) VALUES (1, 0);

-- folded: the name in lower case, which is unique, as e-mail addresses are, which are in lower case. own: the deployment's own account, whose
-- key is root's. public_access_block: JSON.
CREATE TABLE accounts (
    account_id TEXT PRIMARY KEY CHECK (length(account_id) = 12),
    canonical_id TEXT NOT NULL UNIQUE CHECK (length(canonical_id) = 64),
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    email TEXT UNIQUE,
    public_access_block TEXT NOT NULL,
    own BIGINT NOT NULL CHECK (own IN (0, 1)),
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_own ON accounts (own) WHERE own = 1;
-- Accounts that are no more: nobody makes a bucket for one.
CREATE TABLE removed_accounts (canonical_id TEXT PRIMARY KEY, account_id TEXT NOT NULL);

-- Policies that may be attached. policy_id: 'ANPA…'.
CREATE TABLE policies (
    policy_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts ON DELETE RESTRICT,
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    path TEXT NOT NULL,
    description TEXT NOT NULL,
    default_version BIGINT NOT NULL,
    last_version BIGINT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (account_id, folded)
);
CREATE TABLE policy_versions (
    policy_id TEXT NOT NULL REFERENCES policies ON DELETE RESTRICT,
    version BIGINT NOT NULL CHECK (version > 0),
    document TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (policy_id, version)
);

-- Users ('AIDA…'), groups ('AGPA…') and roles ('AROA…'). boundary: a policy; tags: JSON; trust (a document) and max_session (seconds): of
-- roles alone.
CREATE TABLE principals (
    principal_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts ON DELETE RESTRICT,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'group', 'role')),
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    path TEXT NOT NULL,
    boundary TEXT REFERENCES policies ON DELETE RESTRICT,
    tags TEXT NOT NULL,
    trust TEXT,
    max_session BIGINT,
    description TEXT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (account_id, kind, folded),
    CHECK ((kind = 'role') = (trust IS NOT NULL) AND (kind = 'role') = (max_session IS NOT NULL))
);
CREATE INDEX principals_boundary ON principals (boundary) WHERE boundary IS NOT NULL;
CREATE TABLE memberships (
    group_id TEXT NOT NULL REFERENCES principals ON DELETE RESTRICT,
    user_id TEXT NOT NULL REFERENCES principals ON DELETE RESTRICT,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);
CREATE TABLE attachments (
    principal_id TEXT NOT NULL REFERENCES principals ON DELETE RESTRICT,
    policy_id TEXT NOT NULL REFERENCES policies ON DELETE RESTRICT,
    PRIMARY KEY (principal_id, policy_id)
);
CREATE INDEX attachments_policy ON attachments (policy_id);
CREATE TABLE inline_policies (
    principal_id TEXT NOT NULL REFERENCES principals ON DELETE RESTRICT,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (principal_id, name)
);

-- user_id: NULL is the account itself. secret: sealed; policy: a document, what the key may do at most.
CREATE TABLE access_keys (
    access_key TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts ON DELETE RESTRICT,
    user_id TEXT REFERENCES principals ON DELETE RESTRICT,
    secret TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
    policy TEXT,
    description TEXT NOT NULL,
    expires BIGINT,
    created BIGINT NOT NULL
);
CREATE INDEX access_keys_account ON access_keys (account_id);
CREATE INDEX access_keys_user ON access_keys (user_id) WHERE user_id IS NOT NULL;
-- When a key was used last, to the minute or so. Not in snapshots.
CREATE TABLE key_uses (
    access_key TEXT PRIMARY KEY REFERENCES access_keys ON DELETE RESTRICT,
    used BIGINT NOT NULL
);
