"""The store on a PostgreSQL server with pgvector, for many processes that write at the same time."""
