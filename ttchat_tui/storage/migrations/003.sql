-- Messages that wait for their turn. Sending one removes its row and adds the message in one transaction.
-- writer: the process in whose queue it is; once that has ended, the next start takes it over.

CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    place INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    candidates INTEGER NOT NULL,
    created_at REAL NOT NULL,
    writer TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX queue_by_conversation ON queue (conversation_id);
