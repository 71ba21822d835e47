"""The sampling sidebar: sliders, fields, system prompt."""
