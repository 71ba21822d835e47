"""Pure data that every layer shares. Imports only the standard library and msgspec."""
