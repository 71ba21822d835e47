"""Import: conversations from files of this program and of others."""
