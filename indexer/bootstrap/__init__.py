"""The composition roots, a module a job: each joins the application to its adapters, imported when they are needed.

Nothing else in the application imports `db` or `models`.
"""
