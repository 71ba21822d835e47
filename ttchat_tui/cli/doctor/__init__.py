"""`ttchat-tui doctor`: what works on this machine, and what to run where it does not."""
