"""Rows of tags: written with predictions, read for hits, and as conditions of searches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, or_, select

from db.schema import ImageRow, ImageTagRow, ModelRow, PredictionRow, TagRow
from db.sql.dialect import among, chunks, insert_missing, insert_tuples

_COLUMNS = ("embedder_id", "image_id", "tag_id", "score")


def write_tags(connection: Connection, embedder_id: int, tags: Mapping[int, Mapping[str, float]]) -> None:
    """Replace the tags of images, by image id, with their probabilities, 0-1."""
    forget_tags(connection, tags, ImageTagRow.embedder_id == embedder_id)
    ids = _tag_ids(connection, {name for scores in tags.values() for name in scores})
    rows = [(embedder_id, image_id, ids[name], score) for image_id, scores in tags.items() for name, score in scores.items()]
    if rows:
        insert_tuples(connection, ImageTagRow.table, _COLUMNS, rows)


def forget_tags(connection: Connection, image_ids: Iterable[int], *conditions: ColumnElement[bool]) -> None:
    """Delete the tags of images that satisfy some conditions. The names of tags stay."""
    for chunk in chunks(image_ids):
        connection.execute(delete(ImageTagRow.table).where(among(connection, ImageTagRow.image_id, chunk), *conditions))


def _tag_ids(connection: Connection, names: Collection[str]) -> dict[str, int]:
    """Return the ids of tags by name; new names are added."""
    ids: dict[str, int] = {}
    for chunk in chunks(sorted(names)):
        known = select(TagRow.name, TagRow.id).where(TagRow.name.in_(chunk))
        ids.update(connection.execute(known).all())
        if new := [{"name": name} for name in chunk if name not in ids]:
            connection.execute(insert_missing(connection.dialect.name, TagRow.table), new)
            ids.update(connection.execute(known).all())
    return ids


def has_tag(name: str, also_by: int | None = None) -> ColumnElement[bool]:
    """Select the predictions of images that have a tag by the embedder of the prediction's model, or by that of another one."""
    row = ImageTagRow
    tag = select(TagRow.id).where(TagRow.name == name).scalar_subquery()
    own_model = select(ModelRow.embedder_id).where(ModelRow.id == PredictionRow.model_id)
    embedder = own_model.correlate(PredictionRow.table).scalar_subquery()
    by = row.embedder_id == embedder
    if also_by is not None:
        by = or_(by, row.embedder_id == select(ModelRow.embedder_id).where(ModelRow.id == also_by).scalar_subquery())
    return exists().where(row.image_id == PredictionRow.image_id, by, row.tag_id == tag)


def tags_of(model_id: int, digests: Sequence[bytes]) -> Select[bytes, str, float]:
    """Select the tags of images that a model tagged, the most probable first."""
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    joined = ImageTagRow.table.join(TagRow.table, TagRow.id == ImageTagRow.tag_id).join(
        ImageRow.table, ImageRow.id == ImageTagRow.image_id
    )
    query = select(ImageRow.digest, TagRow.name, ImageTagRow.score).select_from(joined)
    own = (ImageRow.digest.in_(digests), ImageTagRow.embedder_id == embedder)
    return query.where(*own).order_by(ImageTagRow.score.desc(), TagRow.name)


def any_tag(model_id: int) -> Select[int]:
    """Select one tag of an image by a model."""
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    return select(ImageTagRow.id).where(ImageTagRow.embedder_id == embedder).limit(1)


def known_tags(model_id: int, names: Sequence[str]) -> Select[str]:
    """Select those of some tags that an image has by a model."""
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    some = exists().where(ImageTagRow.tag_id == TagRow.id, ImageTagRow.embedder_id == embedder)
    return select(TagRow.name).where(TagRow.name.in_(names), some)
