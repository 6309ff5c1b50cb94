"""Storage: the SQLite store (the source of truth) and the FAISS vector index (derived from it)."""
