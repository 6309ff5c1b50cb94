"""The application: from files to predictions to answers. Imports neither SQL nor torch."""
