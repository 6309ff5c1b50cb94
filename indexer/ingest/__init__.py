"""Index runs: scan, survey, analyze, commit."""
