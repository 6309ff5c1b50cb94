"""Hits by one model for the predictions of another: both analyzed the image, and may have detected the same faces in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, select

from db.schema import FileRow, ImageRow, PredictionRow
from db.sql.search_queries import filter_conditions, hit_columns, is_live, model_without_index_hint, predictions_with_files
from indexer.ports.store_reader import HitFilter

Box = tuple[float | None, ...]
"""Left, top, right and bottom edge, as shares of the width and height; None for the whole image."""


class Region(NamedTuple):
    """A region of an image that a model predicted: the id of the prediction, the digest of the image, and the box."""

    prediction_id: int
    digest: bytes
    box: Box


def regions_of(prediction_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Select the regions of some predictions, as the columns of `Region` with the edges one by one."""
    row = PredictionRow
    query = select(row.id, ImageRow.digest, row.left, row.top, row.right, row.bottom)
    return query.join(ImageRow.table, ImageRow.id == row.image_id).where(row.id.in_(prediction_ids))


def rows_of_images(model_id: int, digests: Sequence[bytes], chosen: HitFilter) -> Select[*tuple[Any, ...]]:
    """Select what hits of images show, whatever emotions the filter wants, the best regions first."""
    own = (model_without_index_hint(model_id), ImageRow.digest.in_(digests))
    order = (PredictionRow.score.desc(), PredictionRow.id, FileRow.id)
    return hit_columns().where(*own, *filter_conditions(chosen)).order_by(*order)


def choose_rows(
    regions: Sequence[Region], rows: Sequence[Row[Any]], chosen: HitFilter
) -> Iterator[tuple[int, Sequence[Row[Any]]]]:
    """Yield, for each region, the rows of the prediction that is shown for it: one for each file."""
    of_image: dict[bytes, dict[int, list[Row[Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        of_image[row.digest][row.prediction_id].append(row)
    for region in regions:
        predictions = list(of_image[region.digest].values())
        same_face = [files for files in predictions if region.box != (None,) * 4 and _box_of(files[0]) == region.box]
        shown = next((files for files in same_face or predictions if _is_wanted(files[0], chosen)), None)
        if shown is not None:
            yield region.prediction_id, shown


def _box_of(row: Row[Any]) -> Box:
    return row.left, row.top, row.right, row.bottom


def _is_wanted(row: Row[Any], chosen: HitFilter) -> bool:
    return bool((chosen.emotions is None or row.emotion in chosen.emotions) and row.score >= chosen.min_score)


def ids_of_other(model_id: int, chosen: HitFilter, wanted: Sequence[Any]) -> Select[int]:
    """Select the predictions by `chosen.also_by` of the images with a live prediction by a model that passes a filter.

    `wanted` are the conditions of the filter's emotions.
    """
    own = PredictionRow.model_id == model_id if not chosen.under else model_without_index_hint(model_id)
    images = (
        select(PredictionRow.image_id)
        .select_from(predictions_with_files())
        .where(own, is_live(), *filter_conditions(chosen), *wanted, PredictionRow.score >= chosen.min_score)
    )
    other = PredictionRow.table.alias()
    return select(other.c.id).where(other.c.model_id == chosen.also_by, other.c.image_id.in_(images)).order_by(other.c.id)
