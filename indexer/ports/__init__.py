"""Protocols that the application requires of its adapters, and the records that they exchange.

Records are named tuples: every command defines them all as it starts, and a frozen dataclass takes several times as long.
Adapters live in `db`, `models`, `indexer.sources` and `indexer.executors`. `tests/contracts` has one suite per port, which every
implementation passes.
"""
