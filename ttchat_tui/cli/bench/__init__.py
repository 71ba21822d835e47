"""`ttchat-tui bench`: load, prefill and decode figures of one model."""
