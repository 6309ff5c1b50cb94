"""Network architectures, and the registry of their names."""
