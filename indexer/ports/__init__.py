"""Protocols that the application requires of its adapters, and the records that they exchange.

Records are named tuples: every command defines them at start-up, and a frozen dataclass takes several times as long to define.
Adapters are in `models`, `db` and `commands`; `tests/contracts` has one suite per port that every implementation passes.
"""
