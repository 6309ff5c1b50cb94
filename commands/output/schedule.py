"""The schedule, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from indexer.plain_data.library import job_as_dict
from indexer.scheduling.cron import format_every
from indexer.scheduling.systemd import SERVICE_NAME, TIMER_NAME
from indexer.system.text import display_paths, printable

if TYPE_CHECKING:
    from indexer.domain.jobs import Job, ScheduledJob

_ENABLE_UNITS = f"systemctl --user daemon-reload && systemctl --user enable --now {TIMER_NAME}"


def write_added(job: Job, zone: str, out: TextIO) -> None:
    """Write what was scheduled, and how to run it."""
    local = f" ({zone})" if job.when.cron else ""
    out.write(f"{printable(job.name)}: {_paths(job)}, {_when(job)}{local}.\n")
    out.write("Jobs run while this command runs: moodex schedule run   (to start it with the system: moodex schedule unit)\n")


def write_jobs(scheduled: Sequence[ScheduledJob], zone: str, as_json: bool, out: TextIO) -> None:
    """Write two lines for each job, or an array of objects."""
    if as_json:
        json.dump([job_as_dict(entry) for entry in scheduled], out, indent=2)
        out.write("\n")
        return
    if not scheduled:
        out.write("No jobs yet; add one: moodex schedule add nightly FOLDER --cron '0 3 * * *'\n")
        return
    now = datetime.now().timestamp()
    for entry in scheduled:
        job = entry.job
        out.write(f"{printable(job.name)}  {_when(job)}  {_paths(job)}\n")
        due = "at a change" if entry.next_at is None else "now" if entry.next_at <= now else _minute(entry.next_at)
        out.write(f"    next {due}; last {_last(job)}\n")
    out.write(f"Times are in {zone}.\n")


def write_units(units: Mapping[str, str], out: TextIO) -> None:
    """Write systemd units, by name, with instructions as comments."""
    user_units = Path("~/.config/systemd/user")
    for name, text in units.items():
        out.write(f"# {user_units / name}\n{text}\n")
    out.write("# To write the units to these files and enable them:\n")
    out.write(f"#   moodex schedule unit --output {user_units}\n")
    out.write(f"#   {_ENABLE_UNITS}\n")
    out.write("# Jobs then run while you are logged in. To run them always: loginctl enable-linger\n")


def write_saved_units(folder: Path, out: TextIO) -> None:
    """Write the folder of the systemd units, and the command that enables them."""
    out.write(f"Wrote {SERVICE_NAME} and {TIMER_NAME} to {printable(str(folder))}.\n{_ENABLE_UNITS}\n")


def _when(job: Job) -> str:
    parts = [] if job.when.cron is None else [f"cron {printable(job.when.cron)}"]
    parts += [] if job.when.every is None else [f"every {format_every(job.when.every)}"]
    return " and ".join(parts + (["at changes"] if job.when.watch else []))


def _paths(job: Job) -> str:
    return display_paths(job.roots)


def _last(job: Job) -> str:
    last = job.last
    if last.begun_at is None:
        return "never"
    if last.unfinished:
        return f"{_minute(last.begun_at)} not finished"
    failures = f", {last.failures} times in a row" if last.failures > 1 else ""
    reason = f": {printable(last.reason)}" if last.reason else ""
    return f"{_minute(last.begun_at)} {last.outcome}{failures}{reason}"


def _minute(time: float) -> str:
    return datetime.fromtimestamp(time).isoformat(" ", "minutes")
