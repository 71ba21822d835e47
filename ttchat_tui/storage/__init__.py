"""What was said, kept: SQLite, search, export."""
