"""The metrics file is in Prometheus's text format and says what it should."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from indexer.domain.jobs import Job, JobStatus, Trigger
from indexer.domain.runs import RunTotals
from indexer.scheduling.metrics import Metrics, MetricsFile, ages, exposition
from tests.support.events import LoggedEvents

TOTALS = RunTotals(1234, 5, {"done": 7, "died": 1, "running": 1})
SAMPLE = re.compile(r'(moodex_[a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"\})? (\S+)')


def parse(text: str) -> dict[tuple[str, str], float]:
    """Every sample by metric and label value; each metric is described before its first sample, in one group."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], float] = {}
    described = ""
    for line in text.splitlines():
        if line.startswith("# HELP"):
            described = line.split()[2]
        elif line.startswith("# TYPE"):
            assert line.split()[2] == described
            assert line.split()[3] == ("counter" if described.endswith("_total") else "gauge")
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, _, label, number = match.groups()
            assert name == described
            raw = re.sub(r'\\(["\\n])', lambda one: "\n" if one[1] == "n" else one[1], label or "")
            assert (name, raw) not in found
            found[name, raw] = float(number)
    return found


def test_every_metric_is_there() -> None:
    text = exposition(Metrics(True, TOTALS, 1.5, 42, {"nightly": 3600.25}, {"nightly": 0, "often": 3}))
    assert parse(text) == {
        ("moodex_up", ""): 1,
        ("moodex_images_indexed_total", ""): 1234,
        ("moodex_failures_total", ""): 5,
        ("moodex_runs_total", "done"): 7,
        ("moodex_runs_total", "failed"): 0,
        ("moodex_runs_total", "interrupted"): 0,
        ("moodex_runs_total", "died"): 1,
        ("moodex_last_run_duration_seconds", ""): 1.5,
        ("moodex_files_waiting", ""): 42,
        ("moodex_job_index_age_seconds", "nightly"): 3600.25,
        ("moodex_job_failures_in_a_row", "nightly"): 0,
        ("moodex_job_failures_in_a_row", "often"): 3,
    }
    assert "# TYPE moodex_runs_total counter\n" in text


def test_what_is_not_known_is_left_out() -> None:
    names = {name for name, _ in parse(exposition(Metrics(False, RunTotals(0, 0, {}), None, 0)))}
    assert "moodex_up" in names
    assert "moodex_last_run_duration_seconds" not in names
    assert "moodex_job_index_age_seconds" not in names


@given(st.text(min_size=1), st.floats(0, 1e12))
def test_any_label_and_number_come_back(label: str, number: float) -> None:
    label = "".join(c for c in label if c.isprintable() or c == "\n") or "x"
    assert parse(exposition(Metrics(True, TOTALS, None, 0, {label: number})))["moodex_job_index_age_seconds", label] == number


def test_ages_are_since_the_last_success() -> None:
    jobs = [
        Job("new", (), Trigger(every=60.0)),
        Job("old", (), Trigger(every=60.0), last=JobStatus(begun_at=50.0, succeeded_at=40.0)),
    ]
    assert ages(jobs, 100.0) == {"old": 60.0}
    assert ages(jobs, 30.0) == {"old": 0.0}


def test_the_file_is_kept_true_and_says_in_the_end_that_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.scheduling.metrics._EVERY", 0.01)
    path, asked = tmp_path / "moodex.prom", threading.Semaphore(0)

    def content(up: bool) -> str:
        asked.release()
        return f"moodex_up {int(up)}\n"

    with MetricsFile(path, content):
        assert path.read_text() == "moodex_up 1\n"
        assert all(asked.acquire(timeout=600) for _ in range(3))  # at the start, and by its own thread
    assert path.read_text() == "moodex_up 0\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told_of_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "moodex.prom").mkdir()
    with LoggedEvents() as events, MetricsFile(tmp_path / "moodex.prom", lambda up: ""):
        pass
    assert len(events.sentences) == 2 and "cannot be written" in events.sentences[0]
    with pytest.raises(UsageError, match="does not exist"):
        MetricsFile(tmp_path / "none/m.prom", lambda up: "")
    with MetricsFile(None, lambda up: pytest.fail("asked")) as nothing:
        nothing.write()
