"""What a command prints: tables, JSON, progress, contact sheets."""
