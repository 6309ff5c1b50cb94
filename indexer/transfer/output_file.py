"""Checks and errors of the file that a backup or an export writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.domain.errors import UsageError, disk_error


def check_output_path(target: Path, force: bool) -> None:
    """Check that a file can be written. Raises UsageError, also for an existing file unless `force`."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file.")
    if target.exists() and not force:
        raise UsageError(f"{target} already exists; choose another name, or replace it with --force.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder {target.parent} does not exist.")


@contextmanager
def translate_output_errors(target: Path) -> Iterator[None]:
    """Raise an OSError inside the `with` block as a MoodexError that names the file."""
    try:
        yield
    except OSError as error:
        raise disk_error(target, error) from error
