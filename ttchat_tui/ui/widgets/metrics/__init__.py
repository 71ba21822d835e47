"""Live figures of engine, reply and card."""
