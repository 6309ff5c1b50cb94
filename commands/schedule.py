"""The commands for scheduled jobs, and for the history of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.options import (
    MAX_COUNT,
    AsJson,
    BatchSize,
    Device,
    Exclude,
    Faces,
    FollowSymlinks,
    Home,
    Models,
    Workers,
    open_command_library,
    stdout,
    with_library,
    with_settings,
)
from indexer.library import Library
from indexer.settings import Settings

app = typer.Typer(help="Schedule recurring index jobs.", no_args_is_help=True)

_SHOWN_RUNS = 20

Name = Annotated[str, typer.Argument(help="Name of the job.", metavar="NAME")]


@with_library()
def runs(
    library: Library,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MAX_COUNT, help="Number of runs. (default: 20; all with --json)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show recent index runs and their outcome."""
    from commands.output.runs import write_runs
    from indexer.scheduling import service as scheduling_service

    records = scheduling_service.list_runs(library, limit or (MAX_COUNT if as_json else _SHOWN_RUNS))
    with stdout() as out:
        write_runs(records, as_json, out)


@app.command("add")
def add_command(
    context: typer.Context,
    name: Name,
    paths: Annotated[list[Path], typer.Argument(help="Folders and image files.", metavar="PATH...")],
    cron: Annotated[str | None, typer.Option("--cron", help="When, as in a crontab: '0 3 * * *', in local time.")] = None,
    every: Annotated[str | None, typer.Option("--every", help="How often: 15m, 6h, 1d, 1h30m.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run within seconds of each change.")] = False,
    model: Models = None,
    faces: Faces = None,
    exclude: Exclude = None,
    follow_symlinks: FollowSymlinks = False,
    workers: Workers = None,
    batch_size: BatchSize = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Add a job that indexes paths repeatedly. At each run, the settings supply the options that are not given here."""
    from commands.output.schedule import write_added
    from indexer.domain.jobs import Job, JobOptions, Trigger
    from indexer.scheduling import service as scheduling_service
    from indexer.scheduling.cron import parse_every

    first, further = (model[0], tuple(model[1:])) if model else (None, ())
    library = open_command_library(
        context, home=home, model=first, faces=faces, workers=workers, batch_size=batch_size, device=device
    )
    options = JobOptions(
        model=first,
        further_models=further,
        faces=faces,
        exclude=tuple(exclude or ()),
        follow_symlinks=follow_symlinks,
        workers=library.settings.workers if workers else 0,
        batch_size=library.settings.batch_size if batch_size else 0,
        device=device,
    )
    when = Trigger(cron, parse_every(every) if every is not None else None, watch)
    job = scheduling_service.add_job(library, Job(name, tuple(map(os.fsencode, paths)), when, options))
    with stdout() as out:
        write_added(job, scheduling_service.zone_name(), out)


@app.command("list")
@with_library()
def list_command(
    library: Library,
    as_json: AsJson = False,
) -> None:
    """List jobs: their schedule, next run and last outcome."""
    from commands.output.schedule import write_jobs
    from indexer.scheduling import service as scheduling_service

    jobs = scheduling_service.list_jobs(library)
    with stdout() as out:
        write_jobs(jobs, scheduling_service.zone_name(), as_json, out)


@app.command("remove")
@with_library()
def remove_command(
    library: Library,
    name: Name,
) -> None:
    """Remove a job. Its indexed images stay."""
    from indexer.scheduling import service as scheduling_service
    from indexer.system.text import printable

    scheduling_service.remove_job(library, name)
    with stdout() as out:
        out.write(f"Removed {printable(name)}.\n")


@app.command("run")
@with_library()
def run_command(
    library: Library,
    once: Annotated[bool, typer.Option("--once", help="Run due jobs once, then exit.")] = False,
    metrics: Annotated[
        Path | None, typer.Option("--metrics", help="Write metrics as a Prometheus text file for node_exporter.", metavar="FILE")
    ] = None,
) -> None:
    """Run due jobs one at a time until stopped. A job that was missed runs once."""
    from commands import logs
    from commands.output.progress import TerminalProgress
    from indexer.scheduling import service as scheduling_service

    logs.configure(library.settings.log_format, library.settings.verbosity, service=True)
    if not once:
        scheduling_service.serve(library, TerminalProgress, metrics)
    raise typer.Exit(scheduling_service.run_due(library, TerminalProgress, metrics))


@app.command("unit")
@with_settings()
def unit_command(
    settings: Settings,
    crontab: Annotated[bool, typer.Option("--crontab", help="Print a crontab line instead.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write moodex.service and moodex.timer into this folder.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Print a systemd service and timer, or a crontab line, that run due jobs every five minutes."""
    from commands.output.schedule import write_saved_units, write_units
    from indexer.domain.errors import UsageError
    from indexer.scheduling import systemd

    if crontab and output is not None:
        raise UsageError("--output is for systemd units; add a crontab line with: crontab -e")
    words = _command_line(settings)
    with stdout() as out:
        if crontab:
            out.write(systemd.crontab(words) + "\n")
        elif output is not None:
            systemd.save_units(words, output)
            write_saved_units(output, out)
        else:
            write_units({systemd.SERVICE_NAME: systemd.service(words), systemd.TIMER_NAME: systemd.timer()}, out)


def _command_line(settings: Settings) -> list[str]:
    from indexer.scheduling import service as scheduling_service

    return [*scheduling_service.program_command(), "--home", str(settings.home), "schedule", "run", "--once"]
