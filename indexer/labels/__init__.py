"""User labels."""
