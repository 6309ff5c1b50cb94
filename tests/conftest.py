"""Markers by folder, hypothesis profiles, and isolation from the user's configuration, for all tests."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.postgres_fixtures import _shared_database, empty_postgres_url, postgres_server_url, postgres_url

__all__ = ["_shared_database", "empty_postgres_url", "postgres_server_url", "postgres_url"]

# This must precede the import of numpy and torch. Threads that spin while they wait cost minutes on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There is one worker for each core.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell makes the tests that it starts in the background ignore SIGINT, and their child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("explore", settings.get_profile("default"), deadline=None)
settings.register_profile("default", settings.get_profile("default"), deadline=None, derandomize=True)
settings.register_profile("dev", settings.get_profile("default"), max_examples=10)
settings.load_profile("default")

TESTS = Path(__file__).parent

MARKERS = {
    "process": ("faults", "crash", "fuzz", "cluster"),
    "torch": (
        "unit/models",
        "unit/test_style_baseline.py",
        "contracts/test_classifier.py",
        "contracts/test_face_detector.py",
        "integration/test_training.py",
        "integration/test_isolation.py",
        "e2e",
        "recipes",
        "gpu",
        "crash/test_kill_training.py",
        "faults/test_teaching.py",
    ),
    "heavy": (
        "unit/test_clusters.py",
        "unit/test_style_baseline.py",
        "integration/test_any_history.py",
        "integration/test_any_damage.py",
    ),
    "serial": ("faults/test_full_disk.py", "faults/test_read_only.py", "crash/test_stress.py", "gpu", "cluster"),
    "cluster": ("cluster",),
}
"""The folders and files below tests/ that get each marker."""

PROCESS_FIXTURES = frozenset({"process", "examples_process"})
"""Fixtures that start moodex in a separate process."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the import of deselected files: importing torch takes seconds."""
    expression = str(config.option.markexpr)
    if re.search(r"\bor\b|[()]", expression) or not collection_path.is_relative_to(TESTS):
        return None
    path = collection_path.relative_to(TESTS).as_posix()
    deselected_markers = re.findall(r"\bnot (\w+)", expression)
    return any(path.startswith(MARKERS.get(marker, ())) for marker in deselected_markers) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(TESTS).as_posix()
        for marker, prefixes in MARKERS.items():
            if path.startswith(prefixes):
                item.add_marker(marker)
        if PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape file names that are not UTF-8 in reports, which workers send as UTF-8."""
    report = yield
    report.sections = [(name, content.encode("utf-8", "backslashreplace").decode()) for name, content in report.sections]
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = str(report.longrepr)
        if text != (printable := text.encode("utf-8", "backslashreplace").decode()):
            report.longrepr = printable
    return report


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for variable in [name for name in os.environ if name.startswith("MOODEX_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MOODEX_CONFIG", str(tmp_path_factory.getbasetemp() / "no-config.toml"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder outside the folder of images."""
    return tmp_path / "home"
