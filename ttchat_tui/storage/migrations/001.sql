-- Conversations, and in each a tree of messages. Times are Unix seconds.

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at REAL NOT NULL,
    -- When a message was last added or finished: the order of the list.
    updated_at REAL NOT NULL,
    -- Deleted conversations can come back until they are purged.
    deleted_at REAL,
    -- The last message of the path on screen.
    head_id INTEGER REFERENCES messages (id) ON DELETE SET NULL,
    title TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    -- SamplingParams as JSON; NULL while the model's recommendation holds.
    sampling TEXT,
    system_prompt TEXT NOT NULL DEFAULT '',
    draft TEXT NOT NULL DEFAULT ''
);

CREATE INDEX conversations_by_update ON conversations (updated_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX conversations_by_head ON conversations (head_id);

-- AUTOINCREMENT: an id is never used twice, so that a late writer cannot hit a newer message. Ids grow in order of
-- creation: siblings are ordered by id, and a child's id is greater than its parent's.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent_id INTEGER,
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    status TEXT NOT NULL DEFAULT 'complete' CHECK (status IN ('complete', 'streaming', 'interrupted', 'error')),
    created_at REAL NOT NULL,
    -- The process that streams into this reply, and when it last wrote: set while the status is 'streaming'.
    writer TEXT,
    written_at REAL,
    -- How a reply came to be; NULL in other messages.
    model TEXT,
    engine TEXT,
    seed INTEGER,
    finish_reason TEXT,
    error TEXT,
    sampling TEXT,
    stats TEXT,
    -- The long ones last, so that the columns above never lie in an overflow page.
    content TEXT NOT NULL,
    -- Token ids as unsigned 32-bit little-endian integers.
    token_ids BLOB,
    UNIQUE (conversation_id, id),
    -- A parent is of the same conversation.
    FOREIGN KEY (conversation_id, parent_id) REFERENCES messages (conversation_id, id),
    CHECK ((status = 'streaming') = (writer IS NOT NULL))
);

CREATE INDEX messages_by_parent ON messages (conversation_id, parent_id, id);
CREATE INDEX messages_streaming ON messages (id) WHERE status = 'streaming';

-- What belongs to no conversation: the draft of one that is not created yet.
CREATE TABLE app_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
