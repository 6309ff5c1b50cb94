"""Runs and the status of a library as data for JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.domain.files import Failure
    from indexer.domain.reports import Status
    from indexer.domain.runs import RunRecord


def run_as_dict(run: RunRecord) -> dict[str, object]:
    """Return a run as JSON-compatible data."""
    return {
        "id": run.id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": None if run.ended_at is None else round(run.ended_at - run.started_at, 3),
        "outcome": run.outcome,
        "reason": run.reason,
        "models": list(run.models),
        "roots": [os.fsdecode(root) for root in run.roots],
        "counts": run.counts.nonzero(),
    }


def failure_as_dict(path: bytes, failure: Failure) -> dict[str, str]:
    """Return a failed file as JSON-compatible data."""
    return {"path": os.fsdecode(path), "kind": failure.kind, "reason": failure.reason}


def status_as_dict(status: Status) -> dict[str, Any]:
    """Return the status of a library as JSON-compatible data."""
    return {
        "home": str(status.home),
        "files": {state.value: n for state, n in status.counts.files.items()},
        "images": status.counts.images,
        "hidden": status.hidden,
        "models": [
            {
                "name": model.card.name,
                "key": model.card.key,
                "weights_digest": model.card.weights_digest,
                "images": images,
            }
            for model, images in status.models
        ],
        "runs": [run_as_dict(run) for run in status.runs],
        "failures": [failure_as_dict(path, failure) for path, failure in status.failures],
        "disk_bytes": status.disk_bytes,
    }
