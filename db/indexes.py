"""The indexes of the tables, for the creation of databases and for tests.

They are not in `db.schema`, which every search imports: a partial index makes SQLAlchemy import each dialect that it names.
"""

from __future__ import annotations

from sqlalchemy import Index, MetaData, text

from db.schema import METADATA


def full_metadata() -> MetaData:
    """Return the tables with their indexes. Triggers differ by dialect and are not part of it."""
    metadata = MetaData()
    tables = {table.name: table.to_metadata(metadata) for table in METADATA.sorted_tables}
    files, predictions = tables["files"].c, tables["predictions"].c
    embeddings, generations = tables["embeddings"].c, tables["generations"].c
    Index("files_by_path", files.folder_id, files.name, unique=True)
    Index("files_by_image", files.image_id)
    _partial("files_waiting", "state = 'pending'", files.id)
    _partial("files_failed", "state = 'failed'", files.id)
    _partial("files_gone", "state = 'gone'", files.gone_at)
    _partial("files_live", "state IN ('done', 'pending')", files.image_id)
    Index("predictions_by_image", predictions.image_id, predictions.model_id, predictions.region, unique=True)
    # Begins with the order of a search by emotion, and ends with what its pages need of predictions.
    own, best = (predictions.model_id, predictions.emotion), (predictions.score.desc(), predictions.digest_start)
    Index("predictions_by_score", *own, *best, predictions.image_id, predictions.region, predictions.id)
    _partial("predictions_of_pictures", "region <= 1", predictions.model_id, predictions.region)
    _partial("predictions_uncompared", "compared_to <= 0", predictions.model_id, predictions.id)
    Index("embeddings_by_image", embeddings.embedder_id, embeddings.image_id, embeddings.region, unique=True)
    Index("embeddings_by_picture", embeddings.image_id)
    Index("generations_by_model", generations.model_id, generations.last_prediction_id)
    Index("run_models_by_run", tables["run_models"].c.run_id)
    image_tags = tables["image_tags"].c
    Index("image_tags_by_image", image_tags.image_id, image_tags.embedder_id, image_tags.tag_id, unique=True)
    Index("image_tags_by_tag", image_tags.tag_id, image_tags.embedder_id, image_tags.image_id)
    Index("labels_by_emotion", tables["labels"].c.emotion)
    return metadata


def _partial(name: str, condition: str, *columns: object) -> None:
    Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))  # type: ignore[arg-type]
