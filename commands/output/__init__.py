"""The output of commands: tables, JSON, progress, contact sheets."""
