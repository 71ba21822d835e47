-- What the search index (storage/search) has to follow: messages and titles that were added, changed or removed. Growing
-- replies are not noted until they end. Old rows are pruned; an index that misses one is built again.
-- mark: random, tells this file's history from that of a copy that went another way.

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    mark BLOB NOT NULL DEFAULT (randomblob(8)),
    message_id INTEGER,
    conversation_id INTEGER
);
INSERT INTO changes DEFAULT VALUES;

CREATE TRIGGER message_added AFTER INSERT ON messages WHEN NEW.status != 'streaming'
BEGIN INSERT INTO changes (message_id) VALUES (NEW.id); END;
CREATE TRIGGER message_changed AFTER UPDATE OF content, status, model ON messages WHEN NEW.status != 'streaming'
BEGIN INSERT INTO changes (message_id) VALUES (NEW.id); END;
CREATE TRIGGER message_removed AFTER DELETE ON messages
BEGIN INSERT INTO changes (message_id) VALUES (OLD.id); END;
CREATE TRIGGER title_added AFTER INSERT ON conversations WHEN NEW.title != ''
BEGIN INSERT INTO changes (conversation_id) VALUES (NEW.id); END;
CREATE TRIGGER title_changed AFTER UPDATE OF title ON conversations WHEN NEW.title != OLD.title
BEGIN INSERT INTO changes (conversation_id) VALUES (NEW.id); END;

CREATE INDEX conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
