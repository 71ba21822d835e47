"""The prompt: drafts, earlier prompts, pasted text."""
