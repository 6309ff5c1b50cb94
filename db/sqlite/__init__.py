"""The SQLite store, which holds the truth."""
