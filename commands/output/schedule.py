"""The schedule, for people and programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from indexer.domain.errors import UsageError
from indexer.scheduling.cron import shown_every
from indexer.system.atomic import write_file
from indexer.system.text import display_path, printable

if TYPE_CHECKING:
    from indexer.domain.jobs import Job


class Planned(Protocol):
    """A job with when it is due next, in seconds since the epoch; None where only a change makes it due."""

    @property
    def job(self) -> Job: ...
    @property
    def next_at(self) -> float | None: ...


def write_added(job: Job, zone: str, out: TextIO) -> None:
    """Write what was scheduled, and what has to happen for it to run."""
    local = f" ({zone})" if job.when.cron else ""
    out.write(f"{printable(job.name)}: {_paths(job)}, {_when(job)}{local}.\n")
    out.write("It runs while this does: moodex schedule run   (or let the system start it: moodex schedule unit)\n")


def write_jobs(planned: Sequence[Planned], zone: str, as_json: bool, out: TextIO) -> None:
    """Write each job, or an array of objects."""
    if as_json:
        json.dump([_as_object(one) for one in planned], out, indent=2)
        out.write("\n")
        return
    if not planned:
        out.write("No jobs yet; add one: moodex schedule add nightly FOLDER --cron '0 3 * * *'\n")
        return
    now = datetime.now().timestamp()
    for one in planned:
        job = one.job
        out.write(f"{printable(job.name)}  {_when(job)}  {_paths(job)}\n")
        due = "at a change" if one.next_at is None else "now" if one.next_at <= now else _shown(one.next_at)
        out.write(f"    next {due}; last {_last(job)}\n")
    out.write(f"Times are in {zone}.\n")


def write_units(units: Mapping[str, str], folder: Path | None, out: TextIO) -> None:
    """Write systemd units one after the other with what to do with them, or each into a file of its own."""
    if folder is None:
        place = Path("~/.config/systemd/user")
        for name, text in units.items():
            out.write(f"# {place / name}\n{text}\n")
        out.write("# To write them there and switch them on:\n")
        out.write(f"#   moodex schedule unit --output {place}\n")
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in units.items():
                write_file(folder / name, os.fsencode(text))
        except OSError as error:
            raise UsageError(f"The units cannot be written to {folder} ({error.strerror}); choose another --output.") from error
        out.write(f"Wrote {' and '.join(units)} to {printable(str(folder))}.\n")
    comment = "#   " if folder is None else ""
    out.write(f"{comment}systemctl --user daemon-reload && systemctl --user enable --now moodex.timer\n")
    if folder is None:
        out.write("# It then runs while you are logged in; always, after: loginctl enable-linger\n")


def _when(job: Job) -> str:
    parts = [] if job.when.cron is None else [f"cron {printable(job.when.cron)}"]
    parts += [] if job.when.every is None else [f"every {shown_every(job.when.every)}"]
    return " and ".join(parts + (["at changes"] if job.when.watch else []))


def _paths(job: Job) -> str:
    return ", ".join(display_path(root) for root in job.roots)


def _last(job: Job) -> str:
    last = job.last
    if last.begun_at is None:
        return "never"
    if last.unfinished:
        return f"{_shown(last.begun_at)} not over"
    failures = f", {last.failures} times in a row" if last.failures > 1 else ""
    why = f": {printable(last.reason)}" if last.reason else ""
    return f"{_shown(last.begun_at)} {last.outcome}{failures}{why}"


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time).isoformat(" ", "minutes")


def _as_object(one: Planned) -> dict[str, object]:
    job = one.job
    return {
        "name": job.name,
        "paths": [os.fsdecode(root) for root in job.roots],
        "cron": job.when.cron,
        "every_seconds": job.when.every,
        "watch": job.when.watch,
        "options": asdict(job.options),
        "added_at": job.added_at,
        "next_at": one.next_at,
        "last": asdict(job.last),
    }
