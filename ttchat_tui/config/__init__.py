"""The user's settings, from config.toml, environment and flags, and the app's folders."""
