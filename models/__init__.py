"""Neural networks: architectures, inference, training, teaching and export."""
