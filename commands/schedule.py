"""The commands for what moodex does by itself: the schedule, and the history of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import MOST, AsJson, BatchSize, Device, Faces, Home, Model, Workers, load_command_settings, stdout

if TYPE_CHECKING:
    from indexer.scheduling.run_support import RunCallbacks
    from indexer.settings import Settings

app = typer.Typer(help="Index again and again, by itself.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What the job is called.", metavar="NAME")]


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.command("runs")(runs)
    program.add_typer(app, name="schedule")


def run_callbacks() -> RunCallbacks:
    """A progress bar for every run, on a terminal, and stderr for what is told."""
    from commands.logs import say
    from commands.output.progress import TerminalProgress
    from indexer.scheduling.run_support import RunCallbacks

    return RunCallbacks(TerminalProgress, say)


def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show the latest runs: when, how long, which folders, what they did, how they ended and why."""
    from commands.output.runs import write_runs
    from indexer.scheduling import service as scheduling_service

    found = scheduling_service.runs(load_command_settings(context, home=home), limit)
    with stdout() as out:
        write_runs(found, as_json, out)


@app.command("add")
def add_command(
    context: typer.Context,
    name: Name,
    paths: Annotated[list[Path], typer.Argument(help="Folders and picture files.", metavar="PATH...")],
    cron: Annotated[str | None, typer.Option("--cron", help="When, as in a crontab: '0 3 * * *'. In local time.")] = None,
    every: Annotated[str | None, typer.Option("--every", help="How often: 15m, 6h, 1d, 1h30m.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Also, or only, within seconds of any change.")] = False,
    model: Model = None,
    faces: Faces = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Skip what matches, as in .gitignore; may be repeated.")] = None,
    follow_symlinks: Annotated[bool, typer.Option("--follow-symlinks", help="Follow links to files and folders.")] = False,
    workers: Workers = None,
    batch_size: BatchSize = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Add a job: index these paths again and again. What is not said here is as the settings have it when it runs."""
    from commands.output.schedule import write_added
    from indexer.domain.jobs import Job, JobOptions, Trigger
    from indexer.scheduling import service as scheduling_service
    from indexer.scheduling.cron import parse_every

    settings = load_command_settings(
        context, home=home, model=model, faces=faces, workers=workers, batch_size=batch_size, device=device
    )
    options = JobOptions(
        model=model,
        faces=faces,
        exclude=tuple(exclude or ()),
        follow_symlinks=follow_symlinks,
        workers=settings.workers if workers else 0,
        batch_size=settings.batch_size if batch_size else 0,
        device=device,
    )
    when = Trigger(cron, parse_every(every) if every is not None else None, watch)
    job = scheduling_service.add_job(settings, Job(name, tuple(map(os.fsencode, paths)), when, options))
    with stdout() as out:
        write_added(job, scheduling_service.zone(), out)


@app.command("list")
def list_command(context: typer.Context, as_json: AsJson = False, home: Home = None) -> None:
    """List the jobs: when they run, when next, and how they last went."""
    from commands.output.schedule import write_jobs
    from indexer.scheduling import service as scheduling_service

    found = scheduling_service.planned(load_command_settings(context, home=home))
    with stdout() as out:
        write_jobs(found, scheduling_service.zone(), as_json, out)


@app.command("remove")
def remove_command(context: typer.Context, name: Name, home: Home = None) -> None:
    """Remove a job. What it has indexed stays."""
    from indexer.scheduling import service as scheduling_service
    from indexer.system.text import printable

    scheduling_service.remove_job(load_command_settings(context, home=home), name)
    with stdout() as out:
        out.write(f"Removed {printable(name)}.\n")


@app.command("run")
def run_command(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Run what is due now, and end.")] = False,
    metrics: Annotated[
        Path | None, typer.Option("--metrics", help="Keep a Prometheus text file for node_exporter.", metavar="FILE")
    ] = None,
    home: Home = None,
) -> None:
    """Run the jobs when they are due, one at a time, until stopped. What was missed meanwhile is made up for once."""
    from indexer.scheduling import service as scheduling_service

    settings = load_command_settings(context, service=True, home=home)
    if not once:
        scheduling_service.serve(settings, run_callbacks(), metrics)
    raise typer.Exit(scheduling_service.run_due(settings, run_callbacks(), metrics))


@app.command("unit")
def unit_command(
    context: typer.Context,
    crontab: Annotated[bool, typer.Option("--crontab", help="A line for crontab instead.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write moodex.service and moodex.timer into this folder.", metavar="FOLDER"),
    ] = None,
    home: Home = None,
) -> None:
    """Print a systemd service and timer, or a crontab line, that run what is due every five minutes."""
    from commands.output.schedule import write_units
    from indexer.domain.errors import UsageError
    from indexer.scheduling import systemd

    if crontab and output is not None:
        raise UsageError("--output goes with systemd units; a crontab line is added with: crontab -e")
    words = _command_line(load_command_settings(context, home=home))
    with stdout() as out:
        if crontab:
            out.write(systemd.crontab(words) + "\n")
        else:
            write_units({"moodex.service": systemd.service(words), "moodex.timer": systemd.timer()}, output, out)


def _command_line(settings: Settings) -> list[str]:
    from indexer.scheduling import service as scheduling_service

    return [*scheduling_service.program(), "--home", str(settings.home), "schedule", "run", "--once"]
