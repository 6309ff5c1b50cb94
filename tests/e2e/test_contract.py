"""The contract of the command line: exit codes, one sentence an error, JSON, signals, pipes, and what is never imported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES, ROOT, Run, run_cli
from tests.support.builders import write_images
from tests.support.torture import build

SUMMARY = ["scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed"]


def one_sentence(done: subprocess.CompletedProcess[bytes], code: int, piece: str) -> None:
    error = done.stderr.decode()
    assert done.returncode == code, error
    assert piece in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_index_prints_one_object_last(moodex: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 5)
    first = moodex("index", tmp_path / "pictures", "--json")
    summary = json.loads(first.stdout)
    assert first.returncode == 0
    assert list(summary)[:7] == SUMMARY
    assert {"seconds", "images_per_second", "device", "model"} <= summary.keys()
    assert (summary["scanned"], summary["indexed"], summary["model"]) == (5, 5, "moodex-lite0")
    again = json.loads(moodex("index", tmp_path / "pictures", "--json").stdout)
    assert [again[name] for name in SUMMARY] == [5, 0, 0, 5, 0, 0, 0]
    assert "5 image files: 5 unchanged." in moodex("index", tmp_path / "pictures").stdout.decode()


@pytest.mark.process
def test_a_run_that_finds_nothing_new_never_loads_torch(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 3)
    run_cli(home, "index", tmp_path / "pictures")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli\n"
        f"code = cli.run(['--home', {str(home)!r}, 'index', {str(tmp_path / 'pictures')!r}])\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_some_files_failed_is_3_and_says_why(moodex: Run, tmp_path: Path) -> None:
    torture = build(tmp_path / "torture")
    done = moodex("index", torture.folder, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["failed"] == len(torture.bad)
    table = moodex("search", "--min-score", "0.01", "-k", "100").stdout
    assert b"new\\nline.png" in table
    assert b"\\xff\\xfe bytes.png" in table
    raw = moodex("search", "--min-score", "0.01", "-k", "100", "-0").stdout
    assert set(raw.split(b"\0")[:-1]) == torture.good
    status = moodex("status", "--failures", "100").stdout.decode()
    assert all(reason in status for reason in torture.bad.values())


@pytest.mark.parametrize(
    ("words", "code", "piece"),
    [
        (["index", "/no/such/folder"], 2, "'/no/such/folder' does not exist"),
        (["search"], 2, "Give at least one of IMAGE"),
        (["search", "--emotion", "happy"], 2, "Nothing is indexed yet"),
        (["show", "/no/such/picture.png"], 2, "picture.png': No such file or directory"),
        (["index", str(EXAMPLES), "--model", "nonesuch"], 6, "There is no model 'nonesuch'"),
        (["index", str(EXAMPLES), "--device", "cuda:99"], 6, "cuda:99"),
        (["index", str(EXAMPLES), "--device", "abacus"], 6, "'abacus' is not a device"),
        (["index", str(EXAMPLES), "--workers", "zero"], 2, "--workers is 'zero'"),
    ],
)
def test_errors_are_one_sentence_with_their_code(moodex: Run, words: list[str], code: int, piece: str) -> None:
    one_sentence(moodex(*words), code, piece)


def test_an_emotion_that_is_none_is_named_with_the_nearest(stocked: Run) -> None:
    one_sentence(stocked("search", "--emotion", "hapy"), 2, "Did you mean 'happy'")
    one_sentence(stocked("search", "--not", "gloom y"), 2, "Unknown emotion 'gloom y'")


def test_a_wrong_option_is_a_usage_error(moodex: Run) -> None:
    assert moodex("search", "--colour", "red").returncode == 2
    assert moodex("search", "--format", "xml").returncode == 2
    assert moodex().returncode == 2


def test_a_missing_gpu_is_an_error_where_one_is_required(moodex: Run) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    one_sentence(moodex("index", EXAMPLES, "--require-gpu"), 6, "A GPU is required")


def test_a_damaged_database_is_5_and_left_alone(moodex: Run, home: Path) -> None:
    home.mkdir()
    (home / "moodex.sqlite").write_bytes(b"this is no database" * 1000)
    for words in (["search", "-e", "happy"], ["status"], ["index", str(EXAMPLES)]):
        one_sentence(moodex(*words), 5, "is damaged or is not a moodex database")
    assert (home / "moodex.sqlite").read_bytes() == b"this is no database" * 1000


def test_a_second_writer_is_4(process: Run, home: Path) -> None:
    from db.writer_lock import writer_lock

    home.mkdir()
    with writer_lock(home):
        one_sentence(process("index", EXAMPLES), 4, f"process {os.getpid()}")


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_code_and_the_next_goes_on(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    write_images(tmp_path / "pictures", 300)
    words = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "index", str(tmp_path / "pictures"), "--batch-size", "4"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        while not _committed(home):
            assert run.poll() is None
        run.send_signal(number)
        _, error = run.communicate()
    assert run.returncode == 128 + number
    assert b"what was indexed so far is kept" in error
    summary = json.loads(run_cli(home, "index", tmp_path / "pictures", "--json").stdout)
    assert summary["scanned"] == 300
    assert 0 < summary["unchanged"] < 300
    assert summary["unchanged"] + summary["indexed"] == 300


def _committed(home: Path) -> bool:
    import sqlite3

    if not (home / "moodex.sqlite").exists():
        return False
    with sqlite3.connect(f"file:{home / 'moodex.sqlite'}?mode=ro", uri=True) as database:
        try:
            count = database.execute("SELECT count(*) FROM predictions").fetchone()[0]
        except sqlite3.OperationalError:
            count = 0
    database.close()
    return bool(count)


@pytest.mark.process
def test_a_reader_that_has_had_enough_is_no_error(examples_home: Path) -> None:
    command = (
        f'"{sys.executable}" "{ROOT / "cli.py"}" --home "{examples_home}" search --min-score 0.01 -k 1000 -f jsonl | head -n 1'
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["image_id"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "forbidden"),
    [
        (["--help"], ["torch", "faiss", "numpy", "sqlalchemy", "PIL", "cronsim", "watchfiles"]),
        (["search", "--emotion", "happy"], ["torch", "faiss", "numpy", "PIL", "tqdm", "cronsim", "watchfiles"]),
        (["search", "--like", str(EXAMPLES / "noto/noto-01.png"), "--emotion", "sad"], ["torch", "PIL", "tqdm"]),
        (["status"], ["torch", "faiss", "numpy", "PIL", "cronsim", "watchfiles"]),
        (["runs"], ["torch", "faiss", "numpy", "PIL", "cronsim", "watchfiles"]),
        (["models", "list"], ["torch", "faiss", "PIL"]),
    ],
    ids=lambda value: " ".join(value)[:20],
)
def test_commands_import_no_more_than_they_need(examples_home: Path, words: list[str], forbidden: list[str]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli; code = cli.run({['--home', str(examples_home), *words]!r})\n"
        f"assert code == 0, code\n"
        f"imported = [name for name in {forbidden!r} if name in sys.modules]\n"
        f"assert not imported, imported"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.process
def test_an_image_query_needs_no_torch_when_its_bytes_are_known(examples_home: Path, tmp_path: Path) -> None:
    copy = str(shutil.copy(EXAMPLES / "noto/noto-01.png", tmp_path / "copy.png"))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli\n"
        f"code = cli.run(['--home', {str(examples_home)!r}, 'search', {copy!r}])\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.process
@pytest.mark.parametrize(
    "start", [[sys.executable, "cli.py"], ["./cli.py"], [sys.executable, "-m", "cli"]], ids=["python", "itself", "module"]
)
def test_the_ways_to_start_it(start: list[str]) -> None:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*start, "--version"], cwd=ROOT, capture_output=True, check=False, env=environ)
    assert done.returncode == 0
    assert done.stdout.startswith(b"moodex ")


def test_debug_shows_where_and_may_stand_anywhere(moodex: Run, home: Path) -> None:
    home.mkdir()
    (home / "moodex.sqlite").write_bytes(b"this is no database" * 1000)
    for words in (["--debug", "status"], ["status", "--debug"]):
        assert b"Traceback" in moodex(*words).stderr


@pytest.mark.process
def test_completion_knows_the_emotions(home: Path) -> None:
    environ = {**os.environ, "_MOODEX_COMPLETE": "complete_bash", "COMP_WORDS": "moodex search --emotion s", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, ROOT / "cli.py"], env=environ, capture_output=True, check=False)
    assert done.stdout.decode().split() == ["sad", "surprise"]
