"""Stickers and files of programs for drawing through the commands."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import Run
from tests.support.further_formats import one_of_each


def test_every_format_goes_through_the_commands(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "stickers"
    folder.mkdir()
    files = one_of_each()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    indexed = moodex("index", folder)
    assert indexed.returncode == 0, indexed.stderr
    assert f"{len(files)} image files: {len(files)} indexed." in indexed.stdout.decode()
    for name in files:
        shown = json.loads(moodex("show", folder / name, "--json").stdout)
        assert shown["path"] == str(folder / name)
        found = json.loads(moodex("search", folder / name, "--json").stdout)
        assert found["hits"][0]["path"] == str(folder / name)
    moodex("label", *(folder / name for name in files), "-e", "sad")
    sheet = moodex("search", "--emotion", "sad", "--format", "html").stdout.decode()
    assert sheet.count("data:image/png;base64,") == len(files)
    moodex("sidecars", "--xmp")
    assert {path.name for path in folder.glob("*.xmp")} == {f"{name}.xmp" for name in files}
    assert moodex("index", folder).returncode == 0
