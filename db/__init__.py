"""Storage: the SQLite store (the truth) and the FAISS vector index (derived from it)."""
