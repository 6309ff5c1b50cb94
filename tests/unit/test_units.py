"""Command lines in systemd units and crontabs. The program receives every argument unchanged."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from indexer.scheduling.systemd import crontab, service, timer

COMMAND = ["/usr/bin/python3", "/opt/moodex/cli.py", "--home", "/srv/my images/100% $HOME", "schedule", "run", "--once"]
ANY_NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def systemd_arguments(line: str) -> list[str]:
    """Parse a command line like systemd, see systemd.service(5) and systemd.syntax(7)."""
    arguments = []
    for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        text = re.sub(r"\\x([0-9a-f]{2})", lambda match: f"\0{match[1]}\0", quoted or bare)
        text = re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)
        raw = re.sub(rb"\0([0-9a-f]{2})\0", lambda match: bytes.fromhex(match[1].decode()), text.encode())
        arguments.append(raw.decode(errors="surrogateescape").replace("%%", "%").replace("$$", "$"))
    return arguments


def cron_arguments(line: str) -> list[str]:
    """Parse a line like cron and its shell, see crontab(5)."""
    schedule, command = line[: len("*/5 * * * *")], line[len("*/5 * * * *") + 1 :]
    assert schedule == "*/5 * * * *"
    assert not re.search(r"(?<!\\)%", command)
    return shlex.split(command.replace("\\%", "%"))


def exec_start(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=")


def test_plain_arguments_are_not_quoted() -> None:
    assert exec_start(service(["/bin/python", "/x/cli.py", "--home", "/h"])) == "/bin/python /x/cli.py --home /h"
    assert crontab(["/bin/python", "/x/cli.py"]) == "*/5 * * * * /bin/python /x/cli.py"


def test_spaces_percents_and_dollars_reach_the_program() -> None:
    assert (
        exec_start(service(COMMAND))
        == '/usr/bin/python3 /opt/moodex/cli.py --home "/srv/my images/100%% $$HOME" schedule run --once'
    )
    assert crontab(COMMAND).endswith("--home '/srv/my images/100\\% $HOME' schedule run --once")
    assert systemd_arguments(exec_start(service(COMMAND))) == cron_arguments(crontab(COMMAND)) == COMMAND


@given(ANY_NAME)
def test_any_path_reaches_the_program(name: str) -> None:
    command = ["/bin/python", f"/images/{name}"]
    assert systemd_arguments(exec_start(service(command))) == command
    if name.isprintable():
        assert cron_arguments(crontab(command)) == command


def test_bytes_that_are_not_utf8_reach_the_program() -> None:
    command = ["/bin/python", b"/x/\xff\xfe".decode(errors="surrogateescape")]
    assert exec_start(service(command)) == '/bin/python "/x/\\xff\\xfe"'
    assert systemd_arguments(exec_start(service(command))) == command


def test_a_crontab_refuses_line_breaks_and_escapes() -> None:
    for name in ("a\nb", "\x1b]0;owned\x07", "\u202egnp", "\udcff"):
        with pytest.raises(UsageError, match="line break"):
            crontab(["/bin/python", f"/x/{name}"])


def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    (tmp_path / "moodex.service").write_text(service(["/bin/sh", *COMMAND[1:]]))
    (tmp_path / "moodex.timer").write_text(timer())
    verify = ["systemd-analyze", "verify", str(tmp_path / "moodex.service"), str(tmp_path / "moodex.timer")]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=600)
    assert "moodex" not in done.stderr, done.stderr
