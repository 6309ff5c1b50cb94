"""Learning from the few pictures that a person has labelled, on stored embeddings."""
