"""Pure data that every layer shares: standard library and msgspec only."""
