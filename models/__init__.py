"""Neural networks: architectures, checkpoints, classifiers and their training. Database tables live in `db`."""
