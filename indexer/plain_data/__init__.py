"""Results as data for JSON, with the same fields on the command line and over HTTP."""
