"""The contract of the command line: exit codes, errors of one sentence, JSON, signals, pipes, and few imports."""

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

SUMMARY_FIELDS = ["scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed"]


def assert_one_sentence_error(done: subprocess.CompletedProcess[bytes], code: int, text: str) -> None:
    """Assert that a command failed with an exit code and one sentence that contains a text."""
    error = done.stderr.decode()
    assert done.returncode == code, error
    assert text in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_index_prints_one_json_object(moodex: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 5)
    first = moodex("index", tmp_path / "images", "--json")
    summary = json.loads(first.stdout)
    assert first.returncode == 0
    assert list(summary)[:7] == SUMMARY_FIELDS
    assert {"seconds", "images_per_second", "device", "model"} <= summary.keys()
    assert (summary["scanned"], summary["indexed"], summary["model"]) == (5, 5, "moodex-lite0")
    again = json.loads(moodex("index", tmp_path / "images", "--json").stdout)
    assert [again[name] for name in SUMMARY_FIELDS] == [5, 0, 0, 5, 0, 0, 0]
    assert "5 image files: 5 unchanged." in moodex("index", tmp_path / "images").stdout.decode()


@pytest.mark.process
def test_a_run_without_new_images_does_not_load_torch(home: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 3)
    run_cli(home, "index", tmp_path / "images")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli\n"
        f"code = cli.run(['--home', {str(home)!r}, 'index', {str(tmp_path / 'images')!r}])\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_failed_files_give_exit_code_3_and_a_reason_each(moodex: Run, tmp_path: Path) -> None:
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
    ("words", "code", "text"),
    [
        (["index", "/no/such/folder"], 2, "'/no/such/folder' does not exist"),
        (["search"], 2, "Give at least one of IMAGE"),
        (["search", "--emotion", "happy"], 2, "Nothing is indexed yet"),
        (["show", "/no/such/image.png"], 2, "image.png': No such file or directory"),
        (["index", str(EXAMPLES), "--model", "nonesuch"], 6, "Unknown model 'nonesuch'"),
        (["index", str(EXAMPLES), "--device", "cuda:99"], 6, "cuda:99"),
        (["index", str(EXAMPLES), "--device", "abacus"], 6, "Unknown device 'abacus'"),
        (["index", str(EXAMPLES), "--workers", "zero"], 2, "--workers is 'zero'"),
    ],
)
def test_errors_are_one_sentence_with_an_exit_code(moodex: Run, words: list[str], code: int, text: str) -> None:
    assert_one_sentence_error(moodex(*words), code, text)


def test_an_unknown_emotion_is_refused_with_a_suggestion(examples_moodex: Run) -> None:
    assert_one_sentence_error(examples_moodex("search", "--emotion", "hapy"), 2, "Did you mean 'happy'")
    assert_one_sentence_error(examples_moodex("search", "--not", "gloom y"), 2, "Unknown emotion 'gloom y'")


def test_a_wrong_option_is_a_usage_error(moodex: Run) -> None:
    assert moodex("search", "--color", "red").returncode == 2
    assert moodex("search", "--format", "xml").returncode == 2
    assert moodex().returncode == 2


def test_a_missing_gpu_is_an_error_if_one_is_required(moodex: Run) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    assert_one_sentence_error(moodex("index", EXAMPLES, "--require-gpu"), 6, "A GPU is required")


def test_a_damaged_database_gives_exit_code_5_and_is_not_changed(moodex: Run, home: Path) -> None:
    home.mkdir()
    (home / "moodex.sqlite").write_bytes(b"this is not a database" * 1000)
    for words in (["search", "-e", "happy"], ["status"], ["index", str(EXAMPLES)]):
        assert_one_sentence_error(moodex(*words), 5, "is damaged or is not a moodex database")
    assert (home / "moodex.sqlite").read_bytes() == b"this is not a database" * 1000


def test_a_second_writer_gets_exit_code_4(process: Run, home: Path) -> None:
    from db.writer_lock import writer_lock

    home.mkdir()
    with writer_lock(home):
        assert_one_sentence_error(process("index", EXAMPLES), 4, f"process {os.getpid()}")


@pytest.mark.process
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_with_its_exit_code_and_the_next_run_resumes(
    home: Path, tmp_path: Path, stop_signal: signal.Signals
) -> None:
    write_images(tmp_path / "images", 300)
    words = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "index", str(tmp_path / "images"), "--batch-size", "4"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        while not _has_predictions(home):
            assert run.poll() is None
        run.send_signal(stop_signal)
        _, error = run.communicate()
    assert run.returncode == 128 + stop_signal
    assert b"indexed images are kept" in error
    summary = json.loads(run_cli(home, "index", tmp_path / "images", "--json").stdout)
    assert summary["scanned"] == 300
    assert 0 < summary["unchanged"] < 300
    assert summary["unchanged"] + summary["indexed"] == 300


def _has_predictions(home: Path) -> bool:
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
def test_a_pipe_that_closes_early_is_not_an_error(examples_home: Path) -> None:
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
def test_commands_import_only_what_they_need(examples_home: Path, words: list[str], forbidden: list[str]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli; code = cli.run({['--home', str(examples_home), *words]!r})\n"
        f"assert code == 0, code\n"
        f"imported = [name for name in {forbidden!r} if name in sys.modules]\n"
        f"assert not imported, imported"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.process
def test_a_query_image_with_indexed_bytes_does_not_load_torch(examples_home: Path, tmp_path: Path) -> None:
    copy = str(shutil.copy(EXAMPLES / "noto/noto-01.png", tmp_path / "copy.png"))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli\n"
        f"code = cli.run(['--home', {str(examples_home)!r}, 'search', {copy!r}])\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [[sys.executable, "cli.py"], ["./cli.py"], [sys.executable, "-m", "cli"]],
    ids=["interpreter", "executable", "module"],
)
def test_the_program_starts_in_each_documented_way(command: list[str]) -> None:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, check=False, env=environ)
    assert done.returncode == 0
    assert done.stdout.startswith(b"moodex ")


def test_debug_prints_a_traceback_and_works_before_and_after_the_command(moodex: Run, home: Path) -> None:
    home.mkdir()
    (home / "moodex.sqlite").write_bytes(b"this is not a database" * 1000)
    for words in (["--debug", "status"], ["status", "--debug"]):
        assert b"Traceback" in moodex(*words).stderr


@pytest.mark.process
def test_shell_completion_offers_the_emotions(home: Path) -> None:
    environ = {**os.environ, "_MOODEX_COMPLETE": "complete_bash", "COMP_WORDS": "moodex search --emotion s", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, ROOT / "cli.py"], env=environ, capture_output=True, check=False)
    assert done.stdout.decode().split() == ["sad", "surprise"]
