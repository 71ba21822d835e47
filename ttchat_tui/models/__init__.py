"""Model catalog, models on disk, and downloads."""
