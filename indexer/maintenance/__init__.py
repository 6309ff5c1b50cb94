"""Status, integrity checks and repair."""
