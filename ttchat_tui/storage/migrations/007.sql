-- What the model and the sampler did at each token of a reply: storage/recordings.py. A long one has several parts.
CREATE TABLE recordings (
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (message_id, first)
);
