"""Everything that computes neural networks: architectures, inference, training, teaching."""
