"""`ttchat-tui doctor`: what works on this machine, and what to run if something does not."""
