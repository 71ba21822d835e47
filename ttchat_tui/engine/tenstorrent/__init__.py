"""The Tenstorrent engine, in-process: tt-metal's Generator API, or the standalone tt_transformers package."""
