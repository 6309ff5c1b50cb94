"""The schedule, watching and the history of runs through the real program: processes, signals, logs, metrics, exit codes."""

from __future__ import annotations

import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest

from db.writer_lock import writer_lock
from indexer.domain.jobs import JobStatus
from indexer.domain.runs import RunRecord
from indexer.scheduling import service as scheduling_service
from indexer.settings import Settings
from tests.e2e.conftest import ROOT, Run, environment, run_cli
from tests.e2e.test_contract import one_sentence
from tests.support.builders import write_images
from tests.support.library import Library, opened

_PATIENCE = 600
"""Seconds after which something that was waited for will not come."""


class Process:
    """The program in the background; what it says is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.said: list[str] = []
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted, of either stream."""
        while True:
            line = self._lines.get(timeout=_PATIENCE)
            self.said.append(line)
            if wanted(line):
                return line

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=_PATIENCE)


@contextmanager
def started(home: Path, *words: str | Path) -> Iterator[Process]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    with subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def event(name: str) -> Callable[[str], bool]:
    return lambda line: json.loads(line)["event"] == name


def jobs(home: Path) -> dict[str, JobStatus]:
    return {one.job.name: one.job.last for one in scheduling_service.planned(opened(Settings(home)))}


def runs(home: Path) -> list[RunRecord]:
    return scheduling_service.runs(opened(Settings(home)), 20)


def committed(home: Path) -> int:
    with closing(sqlite3.connect(f"file:{home / 'moodex.sqlite'}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM predictions").fetchone()[0])


@pytest.mark.process
def test_the_service_runs_what_is_due_is_stopped_in_the_middle_and_goes_on(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 80)
    metrics = tmp_path / "moodex.prom"
    added = run_cli(home, "schedule", "add", "all", tmp_path / "pictures", "--every", "1d", "--batch-size", "4", "--faces", "off")
    assert added.returncode == 0, added.stderr
    with started(home, "--log-format", "json", "schedule", "run", "--metrics", metrics) as running:
        running.wait_for(event("job_begins"))
        while not committed(home):
            assert running.process.poll() is None
        assert "moodex_up 1\n" in metrics.read_text()
        assert running.stop(signal.SIGTERM) == 143
        last = running.wait_for(event("error"))
    assert json.loads(last)["exit_code"] == 143
    (run,) = runs(home)
    assert run.outcome == "interrupted" and "SIGTERM" in (run.reason or "")
    assert jobs(home)["all"].outcome == "interrupted"
    assert "moodex_up 0\n" in metrics.read_text()
    done = committed(home)
    assert 0 < done < 80
    with started(home, "--log-format", "json", "schedule", "run", "--metrics", metrics) as running:
        facts = json.loads(running.wait_for(event("job_done")))
        assert running.stop(signal.SIGINT) == 130
    assert (facts["job"], facts["unchanged"], facts["indexed"]) == ("all", done, 80 - done)
    assert run.counts["indexed"] == done
    (planned,) = scheduling_service.planned(opened(Settings(home)))
    assert planned.job.last.outcome == "done"
    assert planned.next_at == (planned.job.last.begun_at or 0) + 86400
    assert "moodex_images_indexed_total 80\n" in metrics.read_text()
    assert 'moodex_job_index_age_seconds{job="all"} ' in metrics.read_text()


@pytest.mark.process
def test_the_service_indexes_what_changes(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_images(folder, 1)
    assert run_cli(home, "schedule", "add", "live", folder, "--watch", "--faces", "off").returncode == 0
    with started(home, "schedule", "run") as running:
        running.wait_for(lambda line: "1 indexed" in line)
        write_images(folder, 1, first_seed=50)
        line = running.wait_for(lambda line: "1 indexed, 1 unchanged" in line)
        assert line[4] == "-" and "live" in line
        assert running.stop(signal.SIGTERM) == 143
    write_images(folder, 1, first_seed=60)
    with started(home, "schedule", "run") as running:
        running.wait_for(lambda line: "1 indexed, 2 unchanged" in line)
        assert running.stop(signal.SIGINT) == 130


@pytest.mark.process
def test_watching_goes_on_until_it_is_stopped(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (first,) = write_images(folder, 1)
    with started(home, "index", folder, "--watch", "--json", "--faces", "off") as watching:
        assert json.loads(watching.wait_for(lambda line: line.startswith("{")))["indexed"] == 1
        assert run_cli(home, "label", first, "--emotion", "sad").returncode == 0
        write_images(folder, 1, first_seed=50)
        assert json.loads(watching.wait_for(lambda line: line.startswith("{")))["indexed"] == 1
        assert watching.stop(signal.SIGINT) == 130


def test_an_unmounted_disk_is_reported_and_loses_nothing(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    write_images(folder, 3)
    run_cli(home, "schedule", "add", "nightly", folder, "--every", "6h")
    assert run_cli(home, "schedule", "run", "--once").returncode == 0
    away = folder.rename(tmp_path / "away")
    done = run_cli(home, "index", folder, "--json")
    assert done.returncode == 3
    assert (json.loads(done.stdout)["kept"], json.loads(done.stdout)["away"]) == (3, [str(folder)])
    assert b"not mounted" in done.stderr
    again = run_cli(home, "index", folder, "--json", "--prune")
    assert (again.returncode, json.loads(again.stdout)["removed"]) == (3, 0)
    _forget_when(home)
    scheduled = run_cli(home, "schedule", "run", "--once")
    assert scheduled.returncode == 3
    assert b"retry in 60 s" in scheduled.stderr
    listed = run_cli(home, "schedule", "list").stdout.decode()
    assert "away" in listed and str(folder) in listed
    away.rename(folder)
    back = json.loads(run_cli(home, "index", folder, "--json").stdout)
    assert (back["scanned"], back["unchanged"], back["indexed"], back["reused"]) == (3, 3, 0, 0)
    folder.rename(away)
    assert json.loads(run_cli(home, "index", folder, "--json", "--prune", "--yes").stdout)["removed"] == 3
    away.rename(folder)
    back = json.loads(run_cli(home, "index", folder, "--json").stdout)
    assert (back["scanned"], back["reused"], back["indexed"]) == (3, 3, 0)


def _forget_when(home: Path) -> None:
    """Make every job due: as if its last run had been long ago."""
    with closing(sqlite3.connect(home / "moodex.sqlite")) as database, database:
        database.execute("UPDATE jobs SET begun_at = begun_at - 864000, ended_at = ended_at - 864000, retry_at = NULL")


@pytest.mark.process
def test_a_killed_run_has_died(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 40)
    child = [sys.executable, "-m", "tests.crash.child", str(tmp_path / "pictures"), str(home)]
    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.send_signal(signal.SIGSTOP)
        assert runs(home)[0].outcome == "running"
        assert b"running: not finished" in run_cli(home, "status").stdout
        run.kill()
    (died,) = runs(home)
    assert (died.outcome, died.ended_at) == ("died", None)
    assert "killed" in (died.reason or "")
    assert b"died: committed results are kept" in run_cli(home, "status").stdout
    Library(tmp_path / "pictures", home).index()
    done, died = runs(home)
    assert (done.outcome, died.outcome) == ("done", "died")
    table = run_cli(home, "runs", "--limit", "1").stdout.decode().splitlines()
    assert len(table) == 2 and " done " in table[1] and "unchanged" in table[1]
    (shown, _) = json.loads(run_cli(home, "runs", "--json").stdout)
    assert shown["seconds"] == pytest.approx(shown["ended_at"] - shown["started_at"], abs=0.001)
    assert (shown["outcome"], shown["reason"], shown["roots"]) == ("done", None, [str(tmp_path / "pictures")])


def test_a_job_waits_for_another_writer(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 1)
    run_cli(home, "schedule", "add", "all", tmp_path / "pictures", "--every", "1d")
    with writer_lock(home):
        done = run_cli(home, "schedule", "run", "--once")
        assert run_cli(home, "schedule", "add", "more", tmp_path / "pictures", "--every", "1d").returncode == 0
    assert done.returncode == 4
    assert f"process {os.getpid()}" in done.stderr.decode()
    assert jobs(home)["all"].outcome == "waiting"


def test_jobs_are_added_listed_and_removed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "my pictures", 1)
    monkeypatch.chdir(tmp_path)
    assert b"No jobs yet" in run_cli(home, "schedule", "list").stdout
    words = ["--cron", "0 3 * * *", "--exclude", "*.tmp", "--workers", "2", "--device", "cpu", "--model", "moodex-lite0"]
    assert run_cli(home, "schedule", "add", "nightly", "my pictures", *words).returncode == 0
    (job,) = json.loads(run_cli(home, "schedule", "list", "--json").stdout)
    assert job["paths"] == [str(tmp_path / "my pictures")]
    assert (job["cron"], job["every_seconds"], job["watch"]) == ("0 3 * * *", None, False)
    options = {"exclude": ["*.tmp"], "workers": 2, "batch_size": 0, "device": "cpu", "model": "moodex-lite0", "faces": None}
    assert job["options"] == {**options, "follow_symlinks": False}
    assert job["next_at"] > job["added_at"]
    listed = run_cli(home, "schedule", "list").stdout.decode()
    assert "nightly  cron 0 3 * * *" in listed and "Times are in " in listed
    assert run_cli(home, "schedule", "run", "--once").returncode == 0
    assert runs(home) == []
    assert run_cli(home, "schedule", "remove", "nightly").returncode == 0
    assert jobs(home) == {}


@pytest.mark.parametrize(
    ("words", "code", "piece"),
    [
        (["add", "nightly", "/tmp"], 2, "Give a time: --cron"),
        (["add", "nightly", "/tmp", "--cron", "0 3 * *"], 2, "has 4 of 5 fields"),
        (["add", "nightly", "/tmp", "--every", "often"], 2, "'often' is not an interval"),
        (["add", "nightly", "/tmp", "--every", "1h", "--cron", "@daily"], 2, "not both"),
        (["add", "a b", "/tmp", "--every", "1h"], 2, "'a b' is not a valid job name"),
        (["add", "nightly", "/no/such/folder", "--every", "1h"], 2, "'/no/such/folder' does not exist"),
        (["add", "nightly", "/tmp", "--every", "1h", "--model", "nonesuch"], 6, "There is no model 'nonesuch'"),
        (["add", "taken", "/tmp", "--every", "1h"], 2, "There is a job 'taken' already"),
        (["add", "nightly", "/tmp", "--every", "1h", "--device", "abacus"], 6, "'abacus' is not a device"),
        (["remove", "nightly"], 2, "There is no job 'nightly'; the jobs are 'taken'"),
        (["run", "--once", "--metrics", "/no/such/folder/m.prom"], 2, "The folder of --metrics /no/such/folder/m.prom"),
        (["unit", "--crontab", "--output", "/tmp"], 2, "--output is for systemd units"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_errors_are_one_sentence(taken: Path, words: Sequence[str], code: int, piece: str) -> None:
    one_sentence(run_cli(taken, "schedule", *words), code, piece)


@pytest.fixture
def taken(home: Path) -> Path:
    """A home with a job."""
    assert run_cli(home, "schedule", "add", "taken", "/tmp", "--cron", "0 0 29 2 *").returncode == 0
    return home


def test_units_start_this_program_over_this_home(tmp_path: Path) -> None:
    home = tmp_path / "my 100% home"
    text = run_cli(home, "schedule", "unit").stdout.decode()
    quoted = str(home).replace("%", "%%")
    assert f'ExecStart={sys.executable} {ROOT / "cli.py"} --home "{quoted}" schedule run --once\n' in text
    assert "OnCalendar=*:0/5" in text
    assert run_cli(home, "schedule", "unit", "--output", tmp_path / "units").returncode == 0
    assert (tmp_path / "units/moodex.timer").read_text() in text
    assert (tmp_path / "units/moodex.service").read_text() in text
    line = run_cli(home, "schedule", "unit", "--crontab").stdout.decode().removeprefix("*/5 * * * * ")
    done = subprocess.run(["/bin/sh", "-c", line.replace("\\%", "%")], capture_output=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert home.is_dir()


def test_logs_are_as_one_wants_them(moodex: Run, home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 1)
    Library(tmp_path / "pictures", home).index()
    (tmp_path / "pictures").rename(tmp_path / "away")
    assert moodex("-q", "index", tmp_path / "pictures").stderr == b""
    done = moodex("--log-format", "json", "-v", "index", tmp_path / "pictures", "--json")
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["level"], one["event"]) for one in said] == [("warning", "warning"), ("info", "run_done")]
    (error,) = [json.loads(line) for line in moodex("--log-format", "json", "index", "/no/such").stderr.splitlines()]
    assert (error["level"], error["exit_code"]) == ("error", 2)
    both = moodex("-q", "-v", "status")
    assert (both.returncode, both.stderr) == (2, b"moodex: Give either --verbose or --quiet, not both.\n")


@pytest.mark.parametrize(("words", "piece"), [(["--yes"], "--yes confirms --prune"), (["--poll", "5"], "--poll is for --watch")])
def test_what_only_makes_sense_together_is_said_together(taken: Path, words: Sequence[str], piece: str) -> None:
    one_sentence(run_cli(taken, "index", "/tmp", *words), 2, piece)
