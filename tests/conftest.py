"""What all tests share: markers by folder, fewer examples for the quick loop, and no configuration of the machine they run on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Before numpy and torch are imported: threads that wait for each other must not spin, which on a busy machine takes minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There is a worker a core.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts tests in the background lets them, and what they start, ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("explore", settings.get_profile("default"), deadline=None)
settings.register_profile("default", settings.get_profile("default"), deadline=None, derandomize=True)
settings.register_profile("dev", settings.get_profile("default"), max_examples=10)
settings.load_profile("default")

TESTS = Path(__file__).parent

MARKERS = {
    "process": ("faults", "crash", "fuzz"),
    "torch": (
        "unit/models",
        "unit/test_usual.py",
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
    "heavy": ("unit/test_clusters.py", "unit/test_usual.py", "integration/test_any_history.py", "integration/test_any_damage.py"),
    "serial": ("faults/test_full_disk.py", "faults/test_read_only.py", "crash/test_stress.py", "gpu"),
}
"""Which folders and files, below tests/, get which marker."""

PROCESS_FIXTURES = frozenset({"process", "examples_process"})
"""Whoever asks for one of these starts the program in a process of its own."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what a run leaves out: torch alone takes seconds."""
    expression = str(config.option.markexpr)
    if re.search(r"\bor\b|[()]", expression) or not collection_path.is_relative_to(TESTS):
        return None
    place = collection_path.relative_to(TESTS).as_posix()
    left_out = re.findall(r"\bnot (\w+)", expression)
    return any(place.startswith(MARKERS.get(marker, ())) for marker in left_out) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        for marker, places in MARKERS.items():
            if place.startswith(places):
                item.add_marker(marker)
        if PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Workers send reports as UTF-8, and file names that are not UTF-8 get into what is captured of the log."""
    report = yield
    report.sections = [(name, content.encode("utf-8", "backslashreplace").decode()) for name, content in report.sections]
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = str(report.longrepr)
        if text != (printable := text.encode("utf-8", "backslashreplace").decode()):
            report.longrepr = printable
    return report


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for variable in [name for name in os.environ if name.startswith("MOODEX_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MOODEX_CONFIG", str(tmp_path_factory.getbasetemp() / "no-config.toml"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder, apart from the pictures."""
    return tmp_path / "home"
