-- What the next prompts hold of a conversation.

-- 'pinned': it stays when others fall out. 'left out': it is not sent. Otherwise empty.
ALTER TABLE messages ADD COLUMN context TEXT NOT NULL DEFAULT '';
-- Sent in the place of this message and those before it; empty: there is none.
ALTER TABLE messages ADD COLUMN summary TEXT NOT NULL DEFAULT '';

-- The context ledger has opened by itself.
ALTER TABLE conversations ADD COLUMN ledger_shown INTEGER NOT NULL DEFAULT 0;
