"""The inspector: a reply token by token, and what else the model might have written."""
