"""What the application asks of the world outside it, and the records that cross that line.

Records are named tuples: every command defines them all as it starts, and a frozen dataclass takes several times as long.
Adapters live in `models`, `db`, `indexer.sources` and `indexer.executors`; `tests/contracts` has one suite per port that every implementation passes.
"""
