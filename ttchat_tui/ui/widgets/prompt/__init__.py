"""The prompt: draft, earlier prompts, pasted text."""
