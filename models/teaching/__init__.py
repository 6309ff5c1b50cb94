"""Teaching: learning from the labels of a user, on stored embeddings."""
