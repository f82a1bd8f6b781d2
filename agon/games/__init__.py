"""The games: one method per file, found by their file names (agon/catalog.py)."""
