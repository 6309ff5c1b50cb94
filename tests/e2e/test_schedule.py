"""The schedule, watching and the run history through the command line: processes, signals, logs, metrics, exit codes."""

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
from tests.e2e.test_contract import assert_one_sentence_error
from tests.support.builders import write_images
from tests.support.library import Library, opened

_TIMEOUT_SECONDS = 600
"""A line or an end of a process that does not come within this time fails its test."""


class BackgroundProcess:
    """A running moodex. Two threads read its output line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def wait_for(self, matches: Callable[[str], bool]) -> str:
        """Return the next line of either stream for which `matches` is true."""
        while True:
            line = self._lines.get(timeout=_TIMEOUT_SECONDS)
            if matches(line):
                return line

    def stop(self, stop_signal: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(stop_signal)
        return self.process.wait(timeout=_TIMEOUT_SECONDS)


@contextmanager
def start(home: Path, *words: str | Path) -> Iterator[BackgroundProcess]:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    with subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield BackgroundProcess(process)
        finally:
            process.kill()


def is_event(name: str) -> Callable[[str], bool]:
    """Return a predicate for lines of the JSON log with an event of this name."""
    return lambda line: json.loads(line)["event"] == name


def job_statuses(home: Path) -> dict[str, JobStatus]:
    return {scheduled.job.name: scheduled.job.last for scheduled in scheduling_service.list_jobs(opened(Settings(home)))}


def runs(home: Path) -> list[RunRecord]:
    return scheduling_service.list_runs(opened(Settings(home)), 20)


def prediction_count(home: Path) -> int:
    with closing(sqlite3.connect(f"file:{home / 'moodex.sqlite'}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM predictions").fetchone()[0])


@pytest.mark.process
def test_the_service_resumes_a_stopped_job(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 80)
    metrics = tmp_path / "moodex.prom"
    added = run_cli(home, "schedule", "add", "all", tmp_path / "images", "--every", "1d", "--batch-size", "4", "--faces", "off")
    assert added.returncode == 0, added.stderr
    with start(home, "--log-format", "json", "schedule", "run", "--metrics", metrics) as running:
        running.wait_for(is_event("job_begins"))
        while not prediction_count(home):
            assert running.process.poll() is None
        assert "moodex_up 1\n" in metrics.read_text()
        assert running.stop(signal.SIGTERM) == 143
        last = running.wait_for(is_event("error"))
    assert json.loads(last)["exit_code"] == 143
    (run,) = runs(home)
    assert run.outcome == "interrupted" and "SIGTERM" in (run.reason or "")
    assert job_statuses(home)["all"].outcome == "interrupted"
    assert "moodex_up 0\n" in metrics.read_text()
    finished = prediction_count(home)
    assert 0 < finished < 80
    with start(home, "--log-format", "json", "schedule", "run", "--metrics", metrics) as running:
        facts = json.loads(running.wait_for(is_event("job_done")))
        assert running.stop(signal.SIGINT) == 130
    assert (facts["job"], facts["unchanged"], facts["indexed"]) == ("all", finished, 80 - finished)
    assert run.counts.indexed == finished
    (scheduled,) = scheduling_service.list_jobs(opened(Settings(home)))
    assert scheduled.job.last.outcome == "done"
    assert scheduled.next_at == (scheduled.job.last.begun_at or 0) + 86400
    assert "moodex_images_indexed_total 80\n" in metrics.read_text()
    assert 'moodex_job_index_age_seconds{job="all"} ' in metrics.read_text()


@pytest.mark.process
def test_the_service_indexes_changes_of_a_watched_folder(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_images(folder, 1)
    assert run_cli(home, "schedule", "add", "live", folder, "--watch", "--faces", "off").returncode == 0
    with start(home, "schedule", "run") as running:
        running.wait_for(lambda line: "1 indexed" in line)
        write_images(folder, 1, first_seed=50)
        line = running.wait_for(lambda line: "1 indexed, 1 unchanged" in line)
        assert line[4] == "-" and "live" in line
        assert running.stop(signal.SIGTERM) == 143
    write_images(folder, 1, first_seed=60)
    with start(home, "schedule", "run") as running:
        running.wait_for(lambda line: "1 indexed, 2 unchanged" in line)
        assert running.stop(signal.SIGINT) == 130


@pytest.mark.process
def test_watching_continues_until_a_signal_stops_it(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (first,) = write_images(folder, 1)
    with start(home, "index", folder, "--watch", "--json", "--faces", "off") as watching:
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
    unmounted = folder.rename(tmp_path / "unmounted")
    done = run_cli(home, "index", folder, "--json")
    assert done.returncode == 3
    assert (json.loads(done.stdout)["kept"], json.loads(done.stdout)["away"]) == (3, [str(folder)])
    assert b"not mounted" in done.stderr
    again = run_cli(home, "index", folder, "--json", "--prune")
    assert (again.returncode, json.loads(again.stdout)["removed"]) == (3, 0)
    _make_jobs_due(home)
    scheduled = run_cli(home, "schedule", "run", "--once")
    assert scheduled.returncode == 3
    assert b"retry in 60 s" in scheduled.stderr
    listed = run_cli(home, "schedule", "list").stdout.decode()
    assert "away" in listed and str(folder) in listed
    unmounted.rename(folder)
    remounted = json.loads(run_cli(home, "index", folder, "--json").stdout)
    assert (remounted["scanned"], remounted["unchanged"], remounted["indexed"], remounted["reused"]) == (3, 3, 0, 0)
    folder.rename(unmounted)
    assert json.loads(run_cli(home, "index", folder, "--json", "--prune", "--yes").stdout)["removed"] == 3
    unmounted.rename(folder)
    remounted = json.loads(run_cli(home, "index", folder, "--json").stdout)
    assert (remounted["scanned"], remounted["reused"], remounted["indexed"]) == (3, 3, 0)


def _make_jobs_due(home: Path) -> None:
    """Make every job due: move its last run ten days back."""
    with closing(sqlite3.connect(home / "moodex.sqlite")) as database, database:
        database.execute("UPDATE jobs SET begun_at = begun_at - 864000, ended_at = ended_at - 864000, retry_at = NULL")


@pytest.mark.process
def test_a_killed_run_has_died(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 40)
    child = [sys.executable, "-m", "tests.crash.child", str(tmp_path / "images"), str(home)]
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
    Library(tmp_path / "images", home).index()
    done, died = runs(home)
    assert (done.outcome, died.outcome) == ("done", "died")
    table = run_cli(home, "runs", "--limit", "1").stdout.decode().splitlines()
    assert len(table) == 2 and " done " in table[1] and "unchanged" in table[1]
    (newest, _) = json.loads(run_cli(home, "runs", "--json").stdout)
    assert newest["seconds"] == pytest.approx(newest["ended_at"] - newest["started_at"], abs=0.001)
    assert (newest["outcome"], newest["reason"], newest["roots"]) == ("done", None, [str(tmp_path / "images")])


def test_a_job_waits_for_another_writer(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 1)
    run_cli(home, "schedule", "add", "all", tmp_path / "images", "--every", "1d")
    with writer_lock(home):
        done = run_cli(home, "schedule", "run", "--once")
        assert run_cli(home, "schedule", "add", "second", tmp_path / "images", "--every", "1d").returncode == 0
    assert done.returncode == 4
    assert f"process {os.getpid()}" in done.stderr.decode()
    assert job_statuses(home)["all"].outcome == "waiting"


def test_jobs_are_added_listed_and_removed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "my images", 1)
    monkeypatch.chdir(tmp_path)
    assert b"No jobs yet" in run_cli(home, "schedule", "list").stdout
    words = ["--cron", "0 3 * * *", "--exclude", "*.tmp", "--workers", "2", "--device", "cpu", "--model", "moodex-lite0"]
    assert run_cli(home, "schedule", "add", "nightly", "my images", *words).returncode == 0
    (job,) = json.loads(run_cli(home, "schedule", "list", "--json").stdout)
    assert job["paths"] == [str(tmp_path / "my images")]
    assert (job["cron"], job["every_seconds"], job["watch"]) == ("0 3 * * *", None, False)
    options = {"exclude": ["*.tmp"], "workers": 2, "batch_size": 0, "device": "cpu", "model": "moodex-lite0", "faces": None}
    options["further_models"] = []
    assert job["options"] == {**options, "follow_symlinks": False}
    assert job["next_at"] > job["added_at"]
    listed = run_cli(home, "schedule", "list").stdout.decode()
    assert "nightly  cron 0 3 * * *" in listed and "Times are in " in listed
    assert run_cli(home, "schedule", "run", "--once").returncode == 0
    assert runs(home) == []
    assert run_cli(home, "schedule", "remove", "nightly").returncode == 0
    assert job_statuses(home) == {}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["add", "nightly", "/tmp"], 2, "The job has no schedule. Add --cron"),
        (["add", "nightly", "/tmp", "--cron", "0 3 * *"], 2, "has 4 of 5 fields"),
        (["add", "nightly", "/tmp", "--every", "often"], 2, "'often' is not an interval"),
        (["add", "nightly", "/tmp", "--every", "1h", "--cron", "@daily"], 2, "not both"),
        (["add", "a b", "/tmp", "--every", "1h"], 2, "'a b' is not a valid job name"),
        (["add", "nightly", "/tmp", "--every", "1h", "--exclude", "!"], 2, "Cannot use the exclude patterns"),
        (["add", "nightly", "/no/such/folder", "--every", "1h"], 2, "'/no/such/folder' does not exist"),
        (["add", "nightly", "/tmp", "--every", "1h", "--model", "nonesuch"], 6, "Unknown model 'nonesuch'"),
        (["add", "taken", "/tmp", "--every", "1h"], 2, "There is a job 'taken' already"),
        (["add", "nightly", "/tmp", "--every", "1h", "--device", "abacus"], 6, "Unknown device 'abacus'"),
        (["remove", "nightly"], 2, "There is no job 'nightly'; the jobs are 'taken'"),
        (["run", "--once", "--metrics", "/no/such/folder/m.prom"], 2, "The folder of --metrics /no/such/folder/m.prom"),
        (["unit", "--crontab", "--output", "/tmp"], 2, "--output is for systemd units"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_schedule_errors_are_one_sentence(home_with_job: Path, words: Sequence[str], code: int, text: str) -> None:
    assert_one_sentence_error(run_cli(home_with_job, "schedule", *words), code, text)


@pytest.fixture
def home_with_job(home: Path) -> Path:
    """A data folder with one job, "taken"."""
    assert run_cli(home, "schedule", "add", "taken", "/tmp", "--cron", "0 0 29 2 *").returncode == 0
    return home


def test_units_and_crontab_lines_start_this_program_with_this_data_folder(tmp_path: Path) -> None:
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


def test_log_options_choose_level_and_format(moodex: Run, home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 1)
    Library(tmp_path / "images", home).index()
    (tmp_path / "images").rename(tmp_path / "moved")
    assert moodex("-q", "index", tmp_path / "images").stderr == b""
    done = moodex("--log-format", "json", "-v", "index", tmp_path / "images", "--json")
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(record["level"], record["event"]) for record in records] == [("warning", "warning"), ("info", "run_done")]
    (error,) = [json.loads(line) for line in moodex("--log-format", "json", "index", "/no/such").stderr.splitlines()]
    assert (error["level"], error["exit_code"]) == ("error", 2)
    both = moodex("-q", "-v", "status")
    assert (both.returncode, both.stderr) == (2, b"moodex: Give either --verbose or --quiet, not both.\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--yes"], "--yes confirms --prune"),
        (["--poll", "5"], "--poll is for --watch"),
        (["--watch", "--poll", "nan"], "--poll takes a number of seconds"),
        (["--exclude", "!"], "Cannot use the exclude patterns"),
    ],
)
def test_an_option_without_the_option_that_it_needs_is_refused(home_with_job: Path, words: Sequence[str], text: str) -> None:
    assert_one_sentence_error(run_cli(home_with_job, "index", "/tmp", *words), 2, text)
