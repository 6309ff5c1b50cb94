"""Executors of the steps of an index run: threads of this process."""
