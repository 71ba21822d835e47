"""`ttchat-tui bench`: the field's figures for one model."""
