"""Doctor, backup, restore, export and import as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from db.writer_lock import writer_lock
from tests.e2e.conftest import EXAMPLES, ROOT, Run, run_cli
from tests.support.builders import write_images


@pytest.fixture
def home_copy(examples_home: Path, home: Path) -> Path:
    """A copy of the data folder with the indexed examples, which `moodex` uses."""
    shutil.copytree(examples_home, home)
    return home


def test_the_doctor_reports_a_sound_library(examples_moodex: Run) -> None:
    done = examples_moodex("doctor", "--deep")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[-1].startswith("Sound: 66 files, 66 images, ")
    facts = json.loads(examples_moodex("doctor", "--json").stdout)
    assert facts["sound"] and facts["findings"] == [] and facts["rows"]["files"] == 66


def test_a_damaged_database_gives_exit_code_5_and_is_repaired(home_copy: Path, moodex: Run) -> None:
    database = home_copy / "moodex.sqlite"
    data = bytearray(database.read_bytes())
    data[:100] = bytes(100)
    database.write_bytes(data)
    for words in (
        ["status"],
        ["search", "-e", "happy"],
        ["label", "--list"],
        ["index", EXAMPLES],
        ["backup", home_copy / "b.zip"],
    ):
        done = moodex(*words)
        assert done.returncode == 5 and b"moodex doctor --repair" in done.stderr and done.stderr.count(b"\n") == 1, done.stderr
    checked = moodex("doctor")
    assert checked.returncode == 5 and b"Problem   1 database that SQLite cannot read" in checked.stdout
    repaired = moodex("doctor", "--repair")
    text = repaired.stdout.decode()
    assert repaired.returncode == 0, text + repaired.stderr.decode()
    assert (
        "Kept      the previous database: " in text
        and "Recovered " in text
        and text.splitlines()[-1].startswith("Sound: 66 files")
    )
    assert moodex("doctor").returncode == 0
    again = json.loads(moodex("index", EXAMPLES, "--json").stdout)
    assert (again["indexed"], again["unchanged"]) == (0, 66)


def test_a_repair_does_not_wait_for_a_writer_and_a_check_needs_no_lock(home_copy: Path, moodex: Run) -> None:
    with writer_lock(home_copy):
        assert moodex("doctor").returncode == 0
        for words in (["doctor", "--repair"], ["restore", home_copy / "none.zip", "--yes"]):
            assert moodex(*words).returncode in (4, 2)
        done = moodex("doctor", "--repair")
        assert done.returncode == 4 and f"process {os.getpid()}" in done.stderr.decode()


@pytest.mark.process
def test_a_check_and_a_backup_work_during_an_index_run(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 300)
    words = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "index", str(tmp_path / "images"), "--batch-size", "4"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while not (home / "moodex.sqlite-wal").exists():
            assert run.poll() is None
        checked = run_cli(home, "doctor", "--json")
        saved = run_cli(home, "backup", tmp_path / "b.zip", "--json")
        assert run.poll() is None
        run.send_signal(signal.SIGKILL)
    assert checked.returncode == 0, checked.stdout.decode()
    assert "runs_died" not in {finding["kind"] for finding in json.loads(checked.stdout)["findings"]}
    assert saved.returncode == 0, saved.stderr.decode()
    after_kill = run_cli(home, "doctor")
    assert after_kill.returncode == 0 and b"Note      1 run killed before it recorded its outcome" in after_kill.stdout
    assert run_cli(home, "doctor", "--repair").returncode == 0
    assert b"died: " in run_cli(home, "status").stdout
    assert run_cli(tmp_path / "other", "restore", tmp_path / "b.zip").returncode == 0
    assert run_cli(tmp_path / "other", "doctor").returncode == 0


def test_a_backup_restores_a_library_and_replaces_nothing_without_permission(
    home_copy: Path, moodex: Run, tmp_path: Path
) -> None:
    head = EXAMPLES / "bigheads/head-08.png"
    assert moodex("label", head, "-e", "furious").returncode == 0
    saved = moodex("backup", tmp_path / "b.zip")
    assert saved.returncode == 0 and b"Saved and checked: " in saved.stdout and b"1 label." in saved.stdout
    refused = moodex("backup", tmp_path / "b.zip")
    assert refused.returncode == 2 and b"--force" in refused.stderr
    assert moodex("label", head, "--remove").returncode == 0
    refused = moodex("restore", tmp_path / "b.zip")
    assert refused.returncode == 2 and b"--yes" in refused.stderr and refused.stderr.count(b"\n") == 1
    done = moodex("restore", tmp_path / "b.zip", "--yes")
    assert done.returncode == 0 and b"Kept      the replaced library: " in done.stdout
    assert b"angry" in moodex("label", "--list").stdout
    similar = json.loads(moodex("search", head, "-k", "3", "-f", "json").stdout)
    assert similar[0]["path"] == str(head)
    (tmp_path / "c.zip").write_bytes((tmp_path / "b.zip").read_bytes()[:-1000])
    damaged = moodex("restore", tmp_path / "c.zip", "--yes")
    assert damaged.returncode == 5 and damaged.stderr.count(b"\n") == 1


def test_an_exported_table_restores_removed_labels(home_copy: Path, moodex: Run, tmp_path: Path) -> None:
    head = EXAMPLES / "bigheads/head-08.png"
    assert moodex("label", head, "-e", "furious").returncode == 0
    done = moodex("export", tmp_path / "all.csv", "--under", EXAMPLES / "bigheads")
    assert done.returncode == 0 and done.stdout.startswith(b"Exported ")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows[str(head)]["label"] == rows[str(head)]["emotion"] == "angry"
    assert moodex("label", head, "--remove").returncode == 0
    assert moodex("import", tmp_path / "all.csv").stdout == b"Changed the labels of 1 image.\n"
    assert moodex("export", tmp_path / "all.csv").returncode == 2
    assert json.loads(moodex("export", tmp_path / "happy.jsonl", "-e", "happy", "--json").stdout)["rows"] > 3
