"""A card that is not there: ttnn's surface, seven generations of tt_transformers, a checkpoint for them."""
