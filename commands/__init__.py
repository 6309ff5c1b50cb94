"""The commands, by topic; `cli.py` lists them. Each command imports its modules when it runs, so that `--help` is fast."""
