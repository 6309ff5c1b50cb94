"""Every command on a library that a PostgreSQL server holds, beside the same commands on a library in a file."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Run, environment
from tests.support import drawn
from tests.support.in_process import Argument, run_in_process

DRAWN = 40


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Drawn faces, of which two are copies of one, and a file that is no image."""
    folder = drawn.two_artists(tmp_path / "faces", count=10)
    shutil.copyfile(folder / "anna/happy/0.png", folder / "copy.png")
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


@pytest.fixture
def on_server(tmp_path: Path, postgres_url: str) -> Run:
    """Run moodex with an empty library on a server."""
    return lambda *words: run_in_process(words, _environment(tmp_path / "server home", postgres_url))


@pytest.fixture
def both(tmp_path: Path, on_server: Run) -> Callable[..., bytes]:
    """Run a command on both libraries; return the standard output, which must be the same."""

    def run(*words: Argument) -> bytes:
        on_file = run_in_process(words, environment(tmp_path / "file home"))
        server = on_server(*words)
        assert (server.returncode, server.stdout) == (on_file.returncode, on_file.stdout), server.stderr.decode()
        return server.stdout

    return run


def _environment(home: Path, url: str) -> dict[str, str]:
    return environment(home) | {"MOODEX_STORE": url}


def answered(done: subprocess.CompletedProcess[bytes], code: int = 0) -> Any:
    """Return the JSON that a command printed."""
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)


def test_searches_labels_and_exports_answer_as_those_of_a_file(
    both: Callable[..., bytes], on_server: Run, faces: Path, tmp_path: Path
) -> None:
    for run in (on_server, lambda *words: run_in_process(words, environment(tmp_path / "file home"))):
        summary = answered(run("index", faces, "--json"), 3)
        assert (summary["indexed"], summary["reused"], summary["failed"]) == (DRAWN, 1, 1)
    like = faces / "ben/sad/3.png"
    questions: list[tuple[Argument, ...]] = [
        ("-e", "happy"), ("-e", "sad", "--min-score", "0.2"), ("--not", "happy"), ("--like", like), (like, "-e", "sad"),
        ("--under", faces / "anna"), ("--like", like, "--dedupe"), ("--min-score", "0.01", "--dedupe"),
    ]  # fmt: skip
    for question in questions:
        whole = json.loads(both("search", *question, "-k", "100", "-f", "json"))
        pages = [json.loads(both("search", *question, "-k", "7", "--offset", str(start), "-f", "json")) for start in (0, 7, 14)]
        assert [hit["path"] for page in pages for hit in page] == [hit["path"] for hit in whole[:21]], question
    assert len(json.loads(both("search", "--min-score", "0.01", "-k", "100", "-f", "json"))) == DRAWN + 1
    both("show", like, faces / "copy.png", "--json")
    both("label", *sorted(faces.rglob("sad/*.png")), "-e", "smug", "--new")
    both("label", faces / "copy.png", "-e", "sad")
    both("hide", faces / "ben/sad/0.png")
    assert len(json.loads(both("search", "-e", "smug", "-k", "100", "-f", "json"))) == DRAWN / 2 - 1
    both("doubts")
    both("roots")
    checked = answered(on_server("doctor", "--json"))
    assert checked["sound"] and (checked["rows"]["files"], checked["rows"]["labels"]) == (DRAWN + 2, DRAWN / 2 + 1)
    both("export", tmp_path / "out.csv", "--force")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == DRAWN
    both("move", faces / "ben", faces / "moved")
    both("forget", faces / "anna")
    assert len(json.loads(both("search", "--min-score", "0.01", "-k", "100", "-f", "json"))) == DRAWN / 2


def test_runs_schedules_and_teaching_work_on_a_server(on_server: Run, faces: Path) -> None:
    assert on_server("schedule", "add", "all", faces, "--every", "1d").returncode == 0
    assert on_server("schedule", "run", "--once").returncode == 3
    (job,) = answered(on_server("schedule", "list", "--json"))
    assert (job["name"], job["last"]["outcome"]) == ("all", "done")
    (faces / "anna/happy/1.png").unlink()
    summary = answered(on_server("index", faces, "--json"), 3)
    assert (summary["unchanged"], summary["removed"], summary["failed"]) == (DRAWN, 1, 1)
    runs = answered(on_server("runs", "--json"))
    assert [run["outcome"] for run in runs] == ["done", "done"]
    status = answered(on_server("status", "--json"))
    assert status["files"]["done"] == DRAWN
    for label, emotion in (("happy", "happy"), ("smug", "sad")):
        assert on_server("label", *sorted(faces.rglob(f"{emotion}/*.png"))[::2], "-e", label, "--new").returncode == 0
    taught = answered(on_server("teach", "--json"))
    assert (taught["new"], taught["rescored"]) == (True, DRAWN)
    smug = answered(on_server("search", "-e", "smug", "-k", "100", "-f", "json"))
    assert any("label" not in hit for hit in smug)
    assert answered(on_server("teach", "--undo", "--json"))["rescored"] == 0
    assert on_server("doctor").returncode == 0
    for command in ("backup", "restore"):
        refused = on_server(command, faces.parent / "backup.zip")
        assert refused.returncode != 0 and b"Traceback" not in refused.stderr


@pytest.mark.process
def test_the_page_serves_a_library_on_a_server(tmp_path: Path, postgres_url: str, on_server: Run, faces: Path) -> None:
    assert on_server("index", faces).returncode == 3
    command = [sys.executable, ROOT / "cli.py", "serve", "--port", "0"]
    environ = _environment(tmp_path / "server home", postgres_url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            seen: list[str] = []
            cursor = ""
            while cursor is not None:
                with urllib.request.urlopen(f"{address}api/v1/search?limit=9{cursor}", timeout=60) as answer:
                    page = json.load(answer)
                seen += [hit["path"] for hit in page["hits"]]
                cursor = None if page["next"] is None else f"&cursor={page['next']}"
            hits = answered(on_server("search", "--min-score", "0.0001", "-k", "100", "-f", "json"))
            assert seen == [hit["path"] for hit in hits] and len(seen) == DRAWN + 1
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.communicate()
