"""Which model is used, and the models of a library."""
