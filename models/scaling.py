"""Euclidean lengths that the parts of an embedding have as inputs of a classifier."""

EMBEDDING_LENGTH = 16.0
"""Factor by which unit vectors are multiplied before the classifier: without it, probabilities would be nearly uniform."""

SHARE = 0.5
"""Length of the appearance part divided by that of the expression part, if a classifier reads both."""
