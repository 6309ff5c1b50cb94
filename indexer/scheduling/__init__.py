"""Recurring index runs: due times, the scheduler, watch mode, metrics."""
