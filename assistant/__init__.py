"""The server for assistants, by the Model Context Protocol. A peer of the command line: it calls the same services."""
