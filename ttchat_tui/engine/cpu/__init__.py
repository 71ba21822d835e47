"""The CPU engine: its own readers, tokenizer build and torch forward for the Llama family, transformers for the rest."""
