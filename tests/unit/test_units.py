"""Command lines in systemd units and crontabs: whatever the path, the program gets the words it should."""

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

WORDS = ["/usr/bin/python3", "/opt/moodex/cli.py", "--home", "/srv/my pictures/100% $HOME", "schedule", "run", "--once"]
NASTY = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def words_for_systemd(line: str) -> list[str]:
    """What systemd makes of a command line, as systemd.service(5) and systemd.syntax(7) say."""
    words = []
    for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        text = re.sub(r"\\x([0-9a-f]{2})", lambda found: f"\0{found[1]}\0", quoted or bare)
        text = re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text)
        raw = re.sub(rb"\0([0-9a-f]{2})\0", lambda found: bytes.fromhex(found[1].decode()), text.encode())
        words.append(raw.decode(errors="surrogateescape").replace("%%", "%").replace("$$", "$"))
    return words


def words_for_cron(line: str) -> list[str]:
    """What cron and the shell after it make of a line, as crontab(5) says."""
    schedule, command = line[: len("*/5 * * * *")], line[len("*/5 * * * *") + 1 :]
    assert schedule == "*/5 * * * *"
    assert not re.search(r"(?<!\\)%", command)
    return shlex.split(command.replace("\\%", "%"))


def executed(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=")


def test_words_that_need_nothing_are_left_alone() -> None:
    assert executed(service(["/bin/python", "/x/cli.py", "--home", "/h"])) == "/bin/python /x/cli.py --home /h"
    assert crontab(["/bin/python", "/x/cli.py"]) == "*/5 * * * * /bin/python /x/cli.py"


def test_spaces_percents_and_dollars_reach_the_program() -> None:
    assert (
        executed(service(WORDS))
        == '/usr/bin/python3 /opt/moodex/cli.py --home "/srv/my pictures/100%% $$HOME" schedule run --once'
    )
    assert crontab(WORDS).endswith("--home '/srv/my pictures/100\\% $HOME' schedule run --once")
    assert words_for_systemd(executed(service(WORDS))) == words_for_cron(crontab(WORDS)) == WORDS


@given(NASTY)
def test_any_path_reaches_the_program(name: str) -> None:
    words = ["/bin/python", f"/pictures/{name}"]
    assert words_for_systemd(executed(service(words))) == words
    if name.isprintable():
        assert words_for_cron(crontab(words)) == words


def test_bytes_that_are_no_text_reach_the_program() -> None:
    words = ["/bin/python", b"/x/\xff\xfe".decode(errors="surrogateescape")]
    assert executed(service(words)) == '/bin/python "/x/\\xff\\xfe"'
    assert words_for_systemd(executed(service(words))) == words


def test_a_line_break_or_an_escape_cannot_stand_in_a_crontab() -> None:
    for name in ("a\nb", "\x1b]0;owned\x07", "\u202egnp", "\udcff"):
        with pytest.raises(UsageError, match="line break"):
            crontab(["/bin/python", f"/x/{name}"])


def test_systemd_has_nothing_against_them(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    (tmp_path / "moodex.service").write_text(service(["/bin/sh", *WORDS[1:]]))
    (tmp_path / "moodex.timer").write_text(timer())
    verify = ["systemd-analyze", "verify", str(tmp_path / "moodex.service"), str(tmp_path / "moodex.timer")]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=600)
    assert "moodex" not in done.stderr, done.stderr
