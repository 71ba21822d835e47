-- What a user does to the tree: written or edited replies, names of branches, and deleted branches.

-- The user wrote this reply, or its beginning.
ALTER TABLE messages ADD COLUMN is_edited INTEGER NOT NULL DEFAULT 0;
-- Of the branch that begins with this message.
ALTER TABLE messages ADD COLUMN branch_name TEXT NOT NULL DEFAULT '';

-- A deleted branch is a deleted conversation of its own until it is put back or purged: where it was cut off.
ALTER TABLE conversations ADD COLUMN cut_from INTEGER REFERENCES conversations (id) ON DELETE CASCADE;
ALTER TABLE conversations ADD COLUMN cut_below INTEGER;
