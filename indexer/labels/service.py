"""The composition root of what people say of pictures, and of what they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.bootstrap import need_database, open_store, open_with_model

if TYPE_CHECKING:
    from indexer.domain.predictions import LabelAssignment, LabeledImage
    from indexer.domain.reports import LabelConflict, LabelsChanged, Suggestion
    from indexer.settings import Settings


def label(settings: Settings, said: Sequence[LabelAssignment], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Remember what a person says of indexed pictures: all of it or, where anything is wrong, nothing; `skip_unknown` leaves out
    what is not indexed.

    Raises UsageError, UnknownEmotion, NotIndexed and WriterBusy.
    """
    from db.writer_lock import writer_lock
    from indexer.labels.assign import apply_labels

    need_database(settings)
    with writer_lock(settings.home), open_store(settings) as store:
        return apply_labels(store, said, new, skip_unknown)


def labels(settings: Settings) -> list[LabeledImage]:
    """Every picture that a person has labelled."""
    need_database(settings)
    with open_store(settings, reading=True) as store:
        return store.labelled()


def doubts(settings: Settings, limit: int) -> list[LabelConflict]:
    """The labels that the chosen model contradicts most surely."""
    from indexer.labels.conflicts import find_conflicts as doubted

    with open_with_model(settings) as (store, model), store.snapshot():
        return doubted(store, model, limit)


def suggest(settings: Settings, count: int) -> list[Suggestion]:
    """The unlabelled pictures whose labels would teach the model in use most."""
    from indexer.teaching.training_set import suggest as suggested

    with open_with_model(settings) as (store, model), store.snapshot():
        return suggested(store, model, count)
