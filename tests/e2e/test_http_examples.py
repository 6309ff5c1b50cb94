"""The documentation of the HTTP API: its Python examples work, and every route has a line for curl."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.test_serve import serving
from tests.support.web import API, browsing

PAGE = (ROOT / "docs/reference/http-api.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MOST_LINES = 15


@pytest.mark.process
@pytest.mark.heavy
def test_the_python_examples_work(examples_home: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(examples_home, home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.print", lambda *_: None)
    names: dict[str, Any] = {}
    follow = [block for block in PYTHON if "def follow" in block]  # examples above it use it
    with serving(home) as (_, address):
        for block in [PYTHON[0], *follow, *PYTHON[1:]]:
            assert len(block.splitlines()) <= MOST_LINES, block
            exec(compile(block.replace("http://127.0.0.1:8765", address.rstrip("/")), "http-api.md", "exec"), names)
    assert names["kept"]["images"] == 5
    assert (tmp_path / "happy.zip").read_bytes().startswith(b"PK")
    assert names["about"]["points"] == 66


def test_every_route_has_a_line_for_curl(home: Path) -> None:
    with browsing(home) as client:
        described = client.get(f"{API}/openapi.json").json()["paths"]
    routes = {(method, re.sub(r"\{\w+\}", "ID", path)) for path, methods in described.items() for method in methods}
    assert len(routes) > 40
    assert routes - {used_by(line) for line in PAGE.splitlines() if line.startswith("curl ")} == set()


def used_by(line: str) -> tuple[str, str]:
    """Return the method and the path that a line for curl asks for."""
    given = re.search(r"-X (\w+)", line)
    method = given[1].lower() if given else "post" if " -F " in line else "get"
    found = re.search(r"(\$API|http://127\.0\.0\.1:8765)(/[^\s\"?]*)", line)
    assert found, line
    return method, (API if found[1] == "$API" else "") + re.sub(r"\$[A-Z]+", "ID", found[2])
