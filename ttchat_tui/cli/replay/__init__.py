"""`ttchat-tui replay`: a stored reply again, or followed by another engine."""
