"""Full-text search over all conversations: an index file beside the database, and a thread that keeps it and searches."""
