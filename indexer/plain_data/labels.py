"""Labels, conflicts and suggestions as data for JSON."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.reports import LabelConflict, LabelsChanged, Suggestion


def changes_as_dict(changed: LabelsChanged) -> dict[str, int]:
    """Return the numbers of changed, unchanged and, if there are any, skipped images."""
    facts = {"changed": changed.changed, "unchanged": changed.unchanged}
    return facts | ({"skipped": changed.skipped} if changed.skipped else {})


def label_as_dict(image: LabeledImage) -> dict[str, str | None]:
    """Return a labeled image as JSON-compatible data."""
    path = None if image.path is None else os.fsdecode(image.path)
    return {"path": path, "label": image.emotion, "image_id": image.image_id}


def conflict_as_dict(conflict: LabelConflict) -> dict[str, str | float]:
    """Return a label that a model contradicts as JSON-compatible data."""
    return {
        "path": os.fsdecode(conflict.path),
        "image_id": conflict.image_id,
        "said": conflict.label,
        "said_score": conflict.label_score,
        "other": conflict.predicted,
        "other_score": conflict.predicted_score,
    }


def suggestion_as_dict(suggestion: Suggestion) -> dict[str, Any]:
    """Return an image that is worth labeling as JSON-compatible data."""
    return {**asdict(suggestion), "path": os.fsdecode(suggestion.path)}
