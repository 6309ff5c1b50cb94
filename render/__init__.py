"""What a person or a pipe sees: progress, tables, JSON, CSV, contact sheets. Imports only the application's nouns."""
