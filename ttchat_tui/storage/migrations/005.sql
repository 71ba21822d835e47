-- The user's own order among the conversations. Pinned ones come first; archived ones are in a list of their own.
ALTER TABLE conversations ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN is_archived INTEGER NOT NULL DEFAULT 0;
-- As domain/tags.py makes them, separated by blanks.
ALTER TABLE conversations ADD COLUMN tags TEXT NOT NULL DEFAULT '';

-- The search index follows titles that have gone, too.
CREATE TRIGGER title_removed AFTER DELETE ON conversations WHEN OLD.title != ''
BEGIN INSERT INTO changes (conversation_id) VALUES (OLD.id); END;
