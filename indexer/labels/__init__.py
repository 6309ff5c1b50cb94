"""The labels that users give."""
