"""The map of the library: making it, and reading it beside the store."""
