"""The commands for clusters: plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.options import AsJson, stdout, with_library
from commands.path_lists import all_paths
from indexer.library import Library

app = typer.Typer(help="Plan index runs on a cluster.", no_args_is_help=True)

_MOST_IMAGES = 10**12


@app.command()
@with_library("model", "device", "require_gpu", "batch_size", "workers", "faces", "engine", "precision")
def plan(
    library: Library,
    paths: Annotated[list[Path], typer.Argument(help="Folders or buckets with some of the images.", metavar="PATH...")],
    images: Annotated[
        int, typer.Option("--images", min=1, max=_MOST_IMAGES, help="Number of images to index.", show_default=False)
    ],
    machines: Annotated[
        list[int] | None, typer.Option("--machines", min=1, max=100_000, help="Number of machines; repeatable. (1, 4, 16)")
    ] = None,
    price: Annotated[float | None, typer.Option("--price", min=0, help="Price of a machine for an hour.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="Duration of the measurement.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Measure this machine for a minute, and forecast a run on several like it. Nothing is stored."""
    from commands.output.growth import write_forecasts
    from indexer.domain.growth import forecast
    from indexer.ingest.measure import measure_rate

    rate = measure_rate(library, all_paths(paths, None, False), seconds)
    forecasts = [forecast(images, count, rate, price) for count in machines or (1, 4, 16)]
    with stdout() as out:
        write_forecasts(rate, forecasts, as_json, out)
