"""The metrics file: Prometheus's text format, and its values."""

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
from indexer.scheduling.metrics import Metrics, MetricsFile, exposition, success_ages
from tests.support.events import LoggedEvents

TOTALS = RunTotals(1234, 5, {"done": 7, "died": 1, "running": 1})
SAMPLE = re.compile(r'(moodex_[a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"\})? (\S+)')


def parse(text: str) -> dict[tuple[str, str], float]:
    """Return every sample by metric and label value.

    Raises AssertionError unless the samples of each metric are one group that follows its description.
    """
    assert text.endswith("\n")
    samples: dict[tuple[str, str], float] = {}
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
            raw = re.sub(r'\\(["\\n])', lambda escape: "\n" if escape[1] == "n" else escape[1], label or "")
            assert (name, raw) not in samples
            samples[name, raw] = float(number)
    return samples


def test_every_metric_is_written() -> None:
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


def test_metrics_without_a_value_are_left_out() -> None:
    names = {name for name, _ in parse(exposition(Metrics(False, RunTotals(0, 0, {}), None, 0)))}
    assert "moodex_up" in names
    assert "moodex_last_run_duration_seconds" not in names
    assert "moodex_job_index_age_seconds" not in names


@given(st.text(min_size=1), st.floats(0, 1e12))
def test_any_label_and_number_can_be_parsed(label: str, number: float) -> None:
    label = "".join(c for c in label if c.isprintable() or c == "\n") or "x"
    assert parse(exposition(Metrics(True, TOTALS, None, 0, {label: number})))["moodex_job_index_age_seconds", label] == number


def test_ages_count_from_the_last_success() -> None:
    jobs = [
        Job("new", (), Trigger(every=60.0)),
        Job("old", (), Trigger(every=60.0), last=JobStatus(begun_at=50.0, succeeded_at=40.0)),
    ]
    assert success_ages(jobs, 100.0) == {"old": 60.0}
    assert success_ages(jobs, 30.0) == {"old": 0.0}


def test_the_file_is_updated_and_reports_the_end_of_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.scheduling.metrics._WRITE_INTERVAL_SECONDS", 0.01)
    path, computations = tmp_path / "moodex.prom", threading.Semaphore(0)

    def content(up: bool) -> str:
        computations.release()
        return f"moodex_up {int(up)}\n"

    with MetricsFile(path, content):
        assert path.read_text() == "moodex_up 1\n"
        assert all(computations.acquire(timeout=600) for _ in range(3))  # once at the start, then by the thread of the file
    assert path.read_text() == "moodex_up 0\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_file_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "moodex.prom").mkdir()
    with LoggedEvents() as events, MetricsFile(tmp_path / "moodex.prom", lambda up: ""):
        pass
    assert len(events.sentences) == 2 and "cannot be written" in events.sentences[0]
    with pytest.raises(UsageError, match="does not exist"):
        MetricsFile(tmp_path / "none/m.prom", lambda up: "")
    with MetricsFile(None, lambda up: pytest.fail("metrics were computed")) as no_file:
        no_file.write()
