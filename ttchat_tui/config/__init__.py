"""What the user set: config.toml, environment, flags; and where things live."""
