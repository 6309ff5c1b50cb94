"""What all tests share: no configuration of the machine they run on leaks in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for variable in [name for name in os.environ if name.startswith("MOODEX_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MOODEX_CONFIG", str(tmp_path_factory.getbasetemp() / "no-config.toml"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder, apart from the pictures."""
    return tmp_path / "home"
