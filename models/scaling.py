"""Lengths of the parts of an embedding as classifiers read them."""

EMBEDDING_LENGTH = 16.0
"""Length of an embedding before the classifier: unit vectors would give nearly uniform probabilities."""

SHARE = 0.5
"""Length of the appearance part relative to the expression part, for a classifier that reads both."""
