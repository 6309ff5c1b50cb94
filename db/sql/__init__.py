"""Statements that every SQL dialect shares, over the tables of `db.schema`."""
