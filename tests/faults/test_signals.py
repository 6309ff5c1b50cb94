"""SIGINT and SIGTERM at every moment of a run and of other commands.

The run finishes and saves the current batch, the exit code is 130 or 143, and moodex prints one sentence at most.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from indexer.scheduling import service as scheduling_service
from tests.faults.conftest import HANG_SECONDS, IMAGES, Program, error_sentence, library_state
from tests.support.library import Library

INT, TERM = signal.SIGINT, signal.SIGTERM
BOTH_SIGNALS = pytest.mark.parametrize("number", [INT, TERM], ids=["SIGINT", "SIGTERM"])
KEPT = "indexed images are kept, and the next run resumes there"


def check_quiet_end(done: subprocess.CompletedProcess[str], number: signal.Signals) -> None:
    """Check that an interrupted command printed one line at most.

    It may also die by the signal, which a shell reports as 128 + n: the command changes nothing, so that it needs no message.
    """
    assert done.returncode in (128 + number, -number), (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) <= 1 and "Traceback" not in done.stderr, done.stderr


@BOTH_SIGNALS
@pytest.mark.parametrize("group", [False, True], ids=["process", "process group"])
@pytest.mark.parametrize("moment", ["scan", "record", "decode", "classify", "commit", "vectors"])
def test_a_stopped_run_saves_its_batch_and_the_next_run_resumes(
    library: Library,
    expected_state: list[tuple[object, ...]],
    program: Program,
    moment: str,
    group: bool,
    number: signal.Signals,
) -> None:
    faults = {"at": moment, "signals": number.value} | ({"group": 1} if group else {})
    with program.start("index", library.folder, **faults) as run:
        out, error = run.communicate(timeout=HANG_SECONDS)
    done = subprocess.CompletedProcess([], run.returncode, out, error)
    assert error_sentence(done, 128 + number) == f"Stopped by {number.name}; {KEPT}."
    (record,) = scheduling_service.list_runs(library.opened, 5)
    indexed = record.counts.indexed
    if moment == "vectors":
        assert (record.outcome, indexed) == ("done", IMAGES)
        assert list(library.settings.vectors.glob("*.rows"))
    else:
        assert record.outcome == "interrupted" and indexed < IMAGES
        assert indexed > 0 or moment in ("scan", "record", "decode")
    assert len(library.everything()) == indexed
    summary = library.index()
    assert (summary.indexed, summary.unchanged) == (IMAGES - indexed, indexed)
    assert library_state(library) == expected_state


@pytest.mark.parametrize(
    "numbers", [(INT, INT), (INT, TERM), (TERM, TERM), (TERM, INT)], ids=lambda pair: "-".join(number.name for number in pair)
)
@pytest.mark.parametrize("moment", ["scan", "classify", "commit", "vectors"])
def test_a_run_that_is_stopped_twice_damages_nothing(
    library: Library,
    expected_state: list[tuple[object, ...]],
    program: Program,
    moment: str,
    numbers: tuple[signal.Signals, signal.Signals],
) -> None:
    done = program.run("index", library.folder, at=moment, signals=",".join(str(number.value) for number in numbers))
    if numbers[1] is INT:  # a second Ctrl-C ends the run at once
        assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    else:
        error_sentence(done, 128 + numbers[0])
    assert program.run_here("doctor").returncode == 0
    assert library.index().exit_code == 0
    assert library_state(library) == expected_state


@BOTH_SIGNALS
@pytest.mark.parametrize(
    ("command", "moment"),
    [
        (("status",), "models"),
        (("search", "-e", "happy"), "models"),
        (("search", "--like", "003.png"), "models"),
        (("show", "003.png"), "models"),
        (("search", "--like", "003.png"), "vectors"),
        (("doctor",), "copy"),
        (("backup", "b.zip"), "copy"),
        (("export", "b.jsonl"), "export"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_another_command_is_stopped(
    library: Library, program: Program, workspace: Path, command: tuple[str, ...], moment: str, number: signal.Signals
) -> None:
    library.index()
    if moment == "vectors":
        for path in library.settings.vectors.iterdir():
            path.unlink()
    before = library_state(library) if moment != "vectors" else None
    images = library.folder
    arguments = [images / word if word.endswith(".png") else workspace / word if "." in word else word for word in command]
    check_quiet_end(program.run(*arguments, at=moment, signals=number.value), number)
    assert sorted(path.name for path in workspace.iterdir()) == ["home", "images"]
    assert program.run_here("doctor").returncode == 0
    assert before is None or library_state(library) == before
    assert len(library_state(library)) == IMAGES


@pytest.mark.parametrize("moment", ["classify", "commit", "vectors"])
def test_a_run_with_two_models_resumes_after_it_was_killed(program: Program, library: Library, moment: str) -> None:
    both = ("index", library.folder, "--model", "fake", "--model", "other")
    killed = program.run(*both, at=moment, signals=signal.SIGKILL.value)
    assert killed.returncode == -signal.SIGKILL
    assert program.run(*both).returncode == 0
    with library.store() as store:
        images = {model.card.name: store.image_count(model.id) for model in store.models()}
        runs = [(run.outcome, run.models) for run in store.runs(9)]
    assert set(images) == {"fake", "other"}
    assert len(set(images.values())) == 1 and images["fake"] > 0
    assert len(runs) == 2 and all(models == ("fake", "other") for _, models in runs)
