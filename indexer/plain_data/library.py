"""Models, roots, jobs and checks of a library as data for JSON."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.domain.files import IndexedRoot
    from indexer.domain.health import DoctorReport, Finding
    from indexer.domain.jobs import ScheduledJob
    from indexer.domain.reports import ListedModel


def model_as_dict(model: ListedModel) -> dict[str, Any]:
    """Return an installed model as JSON-compatible data."""
    return {
        "name": model.card.name,
        "default": model.default,
        "origin": model.origin,
        "architecture": model.card.architecture,
        "labels": list(model.card.labels),
        "input_size": model.card.input.size,
        "embedding_size": model.card.embedding_size,
        "weights_digest": model.card.weights_digest,
        "key": model.card.key,
        "images": model.images,
    }


def root_as_dict(root: IndexedRoot, exists: bool) -> dict[str, Any]:
    """Return a root as JSON-compatible data."""
    return {"path": os.fsdecode(root.path), "files": root.files, "indexed_at": root.indexed_at, "exists": exists}


def job_as_dict(entry: ScheduledJob) -> dict[str, Any]:
    """Return a scheduled job as JSON-compatible data."""
    job = entry.job
    return {
        "name": job.name,
        "paths": [os.fsdecode(root) for root in job.roots],
        "cron": job.when.cron,
        "every_seconds": job.when.every,
        "watch": job.when.watch,
        "options": asdict(job.options),
        "added_at": job.added_at,
        "next_at": entry.next_at,
        "last": asdict(job.last),
    }


def doctor_as_dict(report: DoctorReport) -> dict[str, Any]:
    """Return a check and, if there was one, a repair as JSON-compatible data."""
    repair = report.repair
    last = report.found if repair is None else repair.after
    facts: dict[str, Any] = {
        "home": str(report.home),
        "sound": not last.problems,
        "rows": dict(last.rows),
        "findings": [finding_as_dict(finding) for finding in report.found.findings],
    }
    if repair is not None:
        facts["repair"] = {
            "saved": None if repair.saved is None else str(repair.saved),
            "recovered": None if repair.recovered is None else dict(repair.recovered),
            "left": [finding_as_dict(finding) for finding in repair.after.findings],
        }
    return facts


def finding_as_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding of a check as JSON-compatible data."""
    about = finding.about
    return {
        "kind": finding.kind,
        "severity": about.severity.value,
        "count": finding.count,
        "what": describe_finding(finding),
        "example": finding.example or None,
        "mended_by_repair": about.repairable,
        "advice": about.advice or None,
    }


def describe_finding(finding: Finding) -> str:
    """Return what was found and how often, such as "2 rows that refer to a missing row"."""
    return f"{pluralize(finding.count, finding.about.noun)} {finding.about.like}"
