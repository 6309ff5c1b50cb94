"""The file that a backup or an export writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.domain.errors import UsageError, disk_error


def check_output_path(target: Path, force: bool) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder; say which file to write.")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; choose another name, or replace it with --force.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder {target.parent} does not exist.")


@contextmanager
def translate_output_errors(target: Path) -> Iterator[None]:
    """Say in a sentence where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise disk_error(target, error) from error
