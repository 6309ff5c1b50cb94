"""The models of a library, and the selection of the one in use."""
