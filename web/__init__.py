"""The web page and the HTTP API. A peer of the command line: it calls the same services."""
