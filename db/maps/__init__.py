"""Stored maps."""
