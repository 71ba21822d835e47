"""Between messages and token ids: chat templates, prompts, tokenizers, streamed text."""
