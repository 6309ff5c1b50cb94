"""Nouns and rules: what an emotion, an image, a prediction and a run are. Standard library and numpy only."""
