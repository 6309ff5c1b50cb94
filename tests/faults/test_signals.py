"""SIGINT and SIGTERM at every moment of an indexing run and of other commands: what is at hand is finished and saved, the code is
130 or 143, and what is said is a sentence at most.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from indexer.scheduling import service as scheduling_service
from tests.faults.conftest import HANGS, PICTURES, Program, sentence, state
from tests.support.library import Library

INT, TERM = signal.SIGINT, signal.SIGTERM
BOTH = pytest.mark.parametrize("number", [INT, TERM], ids=["SIGINT", "SIGTERM"])
KEPT = "what was indexed so far is kept, and the next run goes on from there"


def silent(done: subprocess.CompletedProcess[str], number: signal.Signals) -> None:
    """What is interrupted where it changes nothing needs no words; a shell sees 128 + n for who dies by a signal, too."""
    assert done.returncode in (128 + number, -number), (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) <= 1 and "Traceback" not in done.stderr, done.stderr


@BOTH
@pytest.mark.parametrize("group", [False, True], ids=["alone", "with its group"])
@pytest.mark.parametrize("moment", ["scan", "noting", "decoding", "batch", "commit", "vectors"])
def test_a_run_is_stopped(
    library: Library,
    undisturbed: list[tuple[object, ...]],
    program: Program,
    moment: str,
    group: bool,
    number: signal.Signals,
) -> None:
    faults = {"at": moment, "signals": number.value} | ({"group": 1} if group else {})
    with program.start("index", library.folder, **faults) as run:
        out, error = run.communicate(timeout=HANGS)
    assert sentence(subprocess.CompletedProcess([], run.returncode, out, error), 128 + number) == (
        f"Stopped by {number.name}; {KEPT}."
    )
    (record,) = scheduling_service.runs(library.opened, 5)
    done = record.counts.get("indexed", 0)
    if moment == "vectors":
        assert (record.outcome, done) == ("done", PICTURES)
        assert list(library.settings.vectors.glob("*.rows"))
    else:
        assert record.outcome == "interrupted" and done < PICTURES
        assert done > 0 or moment in ("scan", "noting", "decoding")
    assert len(library.everything()) == done
    summary = library.index()
    assert (summary.indexed, summary.unchanged) == (PICTURES - done, done)
    assert state(library) == undisturbed


@pytest.mark.parametrize(
    "numbers", [(INT, INT), (INT, TERM), (TERM, TERM), (TERM, INT)], ids=lambda pair: "-".join(one.name for one in pair)
)
@pytest.mark.parametrize("moment", ["scan", "batch", "commit", "vectors"])
def test_a_run_is_stopped_twice(
    library: Library,
    undisturbed: list[tuple[object, ...]],
    program: Program,
    moment: str,
    numbers: tuple[signal.Signals, signal.Signals],
) -> None:
    done = program.run("index", library.folder, at=moment, signals=",".join(str(number.value) for number in numbers))
    if numbers[1] is INT:  # the impatient
        assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    else:
        sentence(done, 128 + numbers[0])
    assert program.here("doctor").returncode == 0
    assert library.index().exit_code == 0
    assert state(library) == undisturbed


@BOTH
@pytest.mark.parametrize(
    ("words", "moment"),
    [
        (("status",), "models"),
        (("search", "-e", "happy"), "models"),
        (("search", "--like", "003.png"), "models"),
        (("show", "003.png"), "models"),
        (("search", "--like", "003.png"), "vectors"),
        (("doctor",), "copying"),
        (("backup", "b.zip"), "copying"),
        (("export", "b.jsonl"), "copying"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_another_command_is_stopped(
    library: Library, program: Program, place: Path, words: tuple[str, ...], moment: str, number: signal.Signals
) -> None:
    library.index()
    if moment == "vectors":
        for path in library.settings.vectors.iterdir():
            path.unlink()
    before = state(library) if moment != "vectors" else None
    given = [library.folder / word if word.endswith(".png") else place / word if "." in word else word for word in words]
    silent(program.run(*given, at=moment, signals=number.value), number)
    assert sorted(path.name for path in place.iterdir()) == ["home", "pictures"]
    assert program.here("doctor").returncode == 0
    assert before is None or state(library) == before
    assert len(state(library)) == PICTURES
