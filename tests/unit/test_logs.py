"""The log on stderr: one sentence or one JSON object per line, filtered by verbosity."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from commands import logs
from commands.output.progress import TerminalProgress
from indexer.system.events import Level, log_event
from models.progress_bar import bar


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    for name in (*logs.PACKAGES, "models.progress_bar", logs.PROGRESS_LINES):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_text_record_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    log_event("warning", "x", "mind\x1b[31m\nthis", number=1)
    assert capsys.readouterr().err == "moodex: mind\\x1b[31m\\nthis\n"


def test_a_json_record_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "normal")
    log_event("warning", "root_away", "two\nlines", roots=["/a\udcff"], time="ignored")
    log_event("error", "error", "wrong", exit_code=2)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert list(first)[:4] == ["time", "level", "event", "message"]
    assert (first["level"], first["event"], first["message"], first["roots"]) == (
        "warning",
        "root_away",
        "two\nlines",
        ["/a\udcff"],
    )
    assert datetime.fromisoformat(first["time"]).utcoffset() is not None
    assert second["exit_code"] == 2


@pytest.mark.parametrize(
    ("verbosity", "service", "expected"),
    [
        ("quiet", False, ["error"]),
        ("normal", False, ["warning", "error"]),
        ("verbose", False, ["debug", "info", "warning", "error"]),
        ("normal", True, ["info", "warning", "error"]),
        ("quiet", True, ["error"]),
    ],
)
def test_verbosity_selects_levels(capsys: pytest.CaptureFixture[str], verbosity: str, service: bool, expected: list[str]) -> None:
    logs.configure("json", verbosity, service)
    levels: tuple[Level, ...] = ("debug", "info", "warning", "error")
    for level in levels:
        log_event(level, "x", "y")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == expected


def test_a_service_logs_times(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "normal", service=True)
    log_event("info", "x", "nightly: begins.")
    line = capsys.readouterr().err
    assert datetime.fromisoformat(line[:19]) <= datetime.now()
    assert line[19:] == " nightly: begins.\n"


def test_records_of_standard_loggers_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "normal")
    logs.configure("json", "normal")
    logging.getLogger("models.model_registry").warning("a card is %s", "damaged")
    logging.getLogger("models.model_registry").info("not this")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["message"], record["logger"]) == ("log", "a card is damaged", "models.model_registry")


@pytest.mark.parametrize(("form", "verbosity"), [("json", "normal"), ("text", "quiet")])
def test_there_is_no_progress_bar_if_logs_are_json_or_quiet(
    form: str, verbosity: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logs.configure(form, verbosity)
    progress = TerminalProgress()
    progress.scanning(10)
    progress.start(5)
    progress.advance(5, 1)
    progress.finish()
    assert list(bar(range(3), desc="decoding", mininterval=0)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_training_shows_bars_in_normal_text_logs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logs.configure("text", "normal")
    assert list(bar(range(3), desc="decoding", mininterval=0)) == [0, 1, 2]
    assert "decoding: 100%" in capsys.readouterr().err


def test_a_line_a_minute_tells_the_progress_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]

    def work() -> list[str]:
        progress = TerminalProgress(clock=lambda: now[0])
        for found in (10, 2000, 2001):
            progress.scanning(found)
            now[0] += 40
        progress.start(1000)
        for _ in range(4):
            progress.advance(100, 1)
            now[0] += 40
        progress.finish()
        return capsys.readouterr().err.splitlines()

    logs.configure()
    assert work() == [
        "moodex: Scanning: 2,001 image files so far.",
        "moodex: Indexing: 200 of 1,000 images (20%), 2 failed.",
        "moodex: Indexing: 400 of 1,000 images (40%), 4 failed.",
    ]
    logs.configure("json")
    line = json.loads(work()[-1])
    assert (line["event"], line["done"], line["total"], line["failed"]) == ("progress", 400, 1000, 4)
    logs.configure(verbosity="quiet")
    assert work() == []


def test_short_work_writes_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    progress = TerminalProgress()
    progress.scanning(10)
    progress.start(5)
    progress.advance(5, 0)
    progress.finish()
    assert capsys.readouterr().err == ""


def test_requests_that_are_repeated_are_told_only_in_a_verbose_log(capsys: pytest.CaptureFixture[str]) -> None:
    for verbosity, told in (("normal", False), ("verbose", True)):
        logs.configure("text", verbosity)
        logging.getLogger("urllib3.connectionpool").warning("Retrying")
        assert ("Retrying" in capsys.readouterr().err) == told
