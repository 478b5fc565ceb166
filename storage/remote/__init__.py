"""A folder behind an fsspec URL, its lock, and a working copy that is published. May import records."""
