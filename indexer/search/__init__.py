"""Search by emotion, by similarity, or both."""
