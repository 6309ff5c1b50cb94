"""Teaching: fitting the last layer of a model to the labels of a user, on stored embeddings."""
