"""Units for systemd and a line for crontab that run due jobs.

`words` is always a command line whose first word is an absolute path.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from indexer.domain.errors import UsageError
from indexer.system.atomic import write_file

SERVICE_NAME, TIMER_NAME = "moodex.service", "moodex.timer"
_PERIOD_MINUTES = 5
"""Minutes between two starts of the command."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}


def service(words: Sequence[str]) -> str:
    """Return a systemd service that runs due jobs and ends."""
    return f"""[Unit]
Description=moodex: run due index jobs
Documentation=man:systemd.timer(5)

[Service]
Type=oneshot
ExecStart={_command(words)}
# 3: finished, but some files failed or a folder was missing; 4: another moodex is writing; 143: stopped, resumes next time.
SuccessExitStatus=3 4 143
Nice=10
IOSchedulingClass=idle
"""


def timer() -> str:
    """Return the systemd timer that starts the service."""
    return f"""[Unit]
Description=moodex: run due index jobs every {_PERIOD_MINUTES} minutes

[Timer]
OnCalendar=*:0/{_PERIOD_MINUTES}
Persistent=true

[Install]
WantedBy=timers.target
"""


def crontab(words: Sequence[str]) -> str:
    """Return a line for crontab. Raises UsageError for paths that a crontab cannot contain."""
    if not all(word.isprintable() for word in words):
        raise UsageError(
            "A crontab cannot contain a path with a line break or another unprintable character; use a systemd timer: "
            "moodex schedule unit"
        )
    # cron reads a bare % as the end of the line, and passes \\% to the shell as %.
    return f"*/{_PERIOD_MINUTES} * * * * " + " ".join(map(shlex.quote, words)).replace("%", "\\%")


def save_units(words: Sequence[str], folder: Path) -> None:
    """Write the service and the timer into a folder, which is created. Raises UsageError if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((SERVICE_NAME, service(words)), (TIMER_NAME, timer())):
            write_file(folder / name, os.fsencode(text))
    except OSError as error:
        raise UsageError(f"Cannot write the units to {folder}: {error.strerror}. Choose another --output.") from error


def _command(words: Sequence[str]) -> str:
    # systemd substitutes variables in the arguments, but not in the program's path.
    program, *arguments = map(_quoted, words)
    return " ".join([program, *(argument.replace("$", "$$") for argument in arguments)])


def _quoted(word: str) -> str:
    """Return a word in systemd's syntax: in quotes if it needs them, undecodable bytes as escapes."""
    text = "".join(_ESCAPES.get(character) or _byte(character) for character in word)
    return text if text == word and word and not any(c.isspace() or c in "';" for c in word) else f'"{text}"'


def _byte(character: str) -> str:
    if not character.isprintable():
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
    return character
