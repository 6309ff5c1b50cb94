"""A copy of a library in a separate process that prints its progress after every few rows."""

from __future__ import annotations

import sys

import db.library_copy
from indexer.bootstrap import open_library_copy
from indexer.transfer.migrate import migrate
from tests.crash.child import PrintedProgress

if __name__ == "__main__":
    source, target = sys.argv[1:]
    db.library_copy._CHUNK_ROWS = 7
    migrate(lambda: open_library_copy(source, target), PrintedProgress())
