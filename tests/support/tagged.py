"""Tags in a library whose model assigns none, as if it were a tagger."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from db.sql.tag_rows import write_tags
from db.sqlite.store import SqliteStore


def add_tags(database: Path) -> None:
    """Give the first five images of the newest model the tag 1girl, and the first two of them the tag comic."""
    with SqliteStore(database) as store, store._engine.begin() as connection:
        newest = "SELECT m.id, m.embedder_id FROM models m JOIN predictions p ON p.model_id = m.id ORDER BY m.id DESC LIMIT 1"
        model, embedder = connection.execute(text(newest)).one()
        query = text("SELECT image_id FROM predictions WHERE model_id = :model GROUP BY image_id ORDER BY image_id LIMIT 5")
        images = connection.execute(query, {"model": model}).scalars().all()
        tags = {image: {"1girl": 0.9} | ({"comic": 0.5} if number < 2 else {}) for number, image in enumerate(images)}
        write_tags(connection, embedder, tags)
