"""The application: from files to predictions to search results. Imports neither SQL nor torch."""
