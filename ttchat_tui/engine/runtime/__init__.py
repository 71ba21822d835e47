"""Running an engine: its thread, its child process, and the messages between them."""
