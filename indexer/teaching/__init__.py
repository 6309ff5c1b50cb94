"""Fine-tuning a model on the labels of a library."""
