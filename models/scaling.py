"""How long the parts of an embedding are as classifiers read them."""

EMBEDDING_LENGTH = 16.0
"""What a unit vector is stretched to before the classifier: among ten classes, 1 would leave every answer lukewarm."""

SHARE = 0.5
"""How long the look is beside what is felt, for a classifier that reads both."""
