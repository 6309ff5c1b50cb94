"""Forecasts of index runs, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.domain.growth import COMMITS_PER_SECOND

if TYPE_CHECKING:
    from indexer.domain.growth import Forecast


def write_forecasts(machine_rate: float, forecasts: Sequence[Forecast], as_json: bool, out: TextIO) -> None:
    """Write the rate of this machine, in images a second, and forecasts for the same images on one or more machines like it."""
    if as_json:
        facts = {"machine_images_per_second": machine_rate, "forecasts": [asdict(one) for one in forecasts]}
        out.write(json.dumps(facts, indent=2) + "\n")
        return
    first = forecasts[0]
    out.write(f"This machine analyzes {machine_rate:.1f} images per second. For {first.images:,} images:\n\n")
    has_price = first.cost is not None
    out.write("machines   hours" + ("        cost   cost per million" if has_price else "") + "\n")
    for one in forecasts:
        cost = f"{one.cost:12,.2f}{one.cost_per_million:19,.2f}" if has_price else ""
        mark = " *" if one.commits_bound else ""
        out.write(f"{one.machines:8,}{one.hours:8,.1f}{cost}{mark}\n")
    if any(one.commits_bound for one in forecasts):
        out.write(f"* One process commits {COMMITS_PER_SECOND:,.0f} images per second: more machines do not help.\n")
    out.write(
        f"\nMemory: {first.worker_gb:.1f} GB for each worker, {first.run_gb:.1f} GB for the process that commits.\n"
        f"Store: {first.rows:,} rows, {first.database_gb:,.1f} GB. Vector index: {first.index_gb:,.1f} GB, "
        f"built in {first.build_hours:,.1f} hours, searched in {first.search_ms:.1f} ms (99 of 100 searches).\n"
        "The rate was measured now; the other figures are for images with one face each (docs/scale.md).\n"
    )
