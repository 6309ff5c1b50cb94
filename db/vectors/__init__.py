"""The vector index, which is derived from the store and can be rebuilt at any time."""
