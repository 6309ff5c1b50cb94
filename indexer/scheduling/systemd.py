"""Texts that let systemd or cron run what is due: `words` is a command line, its first word an absolute path."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from indexer.domain.errors import UsageError

MINUTES = 5
"""How often the system looks whether something is due."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}


def service(words: Sequence[str]) -> str:
    """A systemd service that runs what is due, and ends."""
    return f"""[Unit]
Description=moodex: index what is due
Documentation=man:systemd.timer(5)

[Service]
Type=oneshot
ExecStart={_command(words)}
# 3: finished, but some files failed or a folder was not there; 4: another moodex is writing; 143: stopped, and goes on next time.
SuccessExitStatus=3 4 143
Nice=10
IOSchedulingClass=idle
"""


def timer() -> str:
    """The systemd timer that starts it."""
    return f"""[Unit]
Description=moodex: look every {MINUTES} minutes whether something is due

[Timer]
OnCalendar=*:0/{MINUTES}
Persistent=true

[Install]
WantedBy=timers.target
"""


def crontab(words: Sequence[str]) -> str:
    """A line for crontab. Raises UsageError for paths that none can hold."""
    if not all(word.isprintable() for word in words):
        raise UsageError(
            "A crontab cannot contain a path with a line break or another unprintable character; use a systemd timer: "
            "moodex schedule unit"
        )
    # cron takes a bare % for the end of the line, and gives \\% to the shell as %.
    return f"*/{MINUTES} * * * * " + " ".join(map(shlex.quote, words)).replace("%", "\\%")


def _command(words: Sequence[str]) -> str:
    # A variable is put in for $NAME, but not in the program's own path.
    program, *arguments = map(_quoted, words)
    return " ".join([program, *(argument.replace("$", "$$") for argument in arguments)])


def _quoted(word: str) -> str:
    """A word as systemd reads it: in quotes where it needs them, undecodable bytes as escapes."""
    text = "".join(_ESCAPES.get(character) or _byte(character) for character in word)
    return text if text == word and word and not any(c.isspace() or c in "';" for c in word) else f'"{text}"'


def _byte(character: str) -> str:
    if not character.isprintable():
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
    return character
