"""The conversation: messages, scrolling, selection."""
