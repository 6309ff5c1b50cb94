"""The commands, by subject; `cli.py` joins them. Each imports what it needs when it runs, so that `--help` costs little."""
