"""Everything between a conversation and a token."""
