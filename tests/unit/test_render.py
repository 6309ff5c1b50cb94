from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from commands import logs
from commands.output.charts import confusion_chart
from commands.output.contact_sheet import describe, sheet
from commands.output.hits import write_hits
from commands.output.labels import write_doubts
from commands.output.models import write_models
from commands.output.probabilities import write_bars
from commands.output.progress import TerminalProgress
from commands.output.roots import write_roots
from commands.output.training import write_inspection, write_rows
from indexer.domain.files import IndexedRoot
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.reports import LabelConflict, ListedModel
from indexer.domain.training import ComparisonRow, Inspection
from indexer.system.text import display_path, pluralize, printable
from tests.support.builders import write_images

HOSTILE_PATHS = [
    b"/p/new\nline.png",
    b"/p/\xff\xfe.png",
    b"/p/\x1b]0;owned\x07\x1b[31m.png",
    "/p/\u202egnp.exe".encode(),
    b"/p/<script>alert(1)</script>.png",
    b"/p/\"quoted' & more.png",
    b"/p/-rf.png",
    "/p/\U0001f468\u200d\U0001f469.png".encode(),
]


def hit(path: bytes, similarity: float | None = None) -> Hit:
    return Hit(path, "ab" * 32, "happy", 0.75, {"happy": 0.75, "sad": 0.25}, similarity)


def written_hits(form: str, hits: list[Hit], end: str = "\n") -> bytes:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace")
    write_hits(hits, form, end, out)
    out.flush()
    return raw.getvalue()


def test_a_table_has_one_line_for_each_hit_whatever_its_name() -> None:
    table = written_hits("table", [hit(path) for path in HOSTILE_PATHS]).decode()
    assert len(table.splitlines()) == len(HOSTILE_PATHS) + 1
    assert all(c.isprintable() or c in "\n\u200d" for c in table)
    assert "\\xff\\xfe.png" in table
    assert "\\u202e" in table


def test_an_empty_table_reports_that_no_images_match() -> None:
    assert written_hits("table", []) == b"No images match.\n"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_ascii_and_preserves_every_name(form: str) -> None:
    text = written_hits(form, [hit(path, 0.5) for path in HOSTILE_PATHS]).decode("ascii")
    entries = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert [os.fsencode(entry["path"]) for entry in entries] == HOSTILE_PATHS
    assert entries[0] == {
        "path": "/p/new\nline.png",
        "image_id": "ab" * 32,
        "emotion": "happy",
        "score": 0.75,
        "emotions": {"happy": 0.75, "sad": 0.25},
        "similarity": 0.5,
    }


def test_csv_preserves_every_name() -> None:
    data = written_hits("csv", [hit(path) for path in HOSTILE_PATHS])
    rows = list(csv.DictReader(io.StringIO(os.fsdecode(data), newline="")))
    assert [os.fsencode(row["path"]) for row in rows] == HOSTILE_PATHS
    assert rows[0]["similarity"] == ""
    assert rows[0]["sad"] == "0.25"


def test_the_paths_format_preserves_every_byte() -> None:
    assert written_hits("paths", [hit(path) for path in HOSTILE_PATHS], "\0") == b"".join(path + b"\0" for path in HOSTILE_PATHS)


def test_a_contact_sheet_shows_names_and_runs_no_script() -> None:
    class PageParser(HTMLParser):
        tags: list[str] = []  # noqa: RUF012
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)

        def handle_data(self, data: str) -> None:
            self.text += data

    page = sheet(
        [hit(path) for path in HOSTILE_PATHS], "happy", lambda path, box, frame: b"png" if path == HOSTILE_PATHS[0] else None
    )
    parser = PageParser()
    parser.feed(page)
    assert "script" not in parser.tags
    assert parser.tags.count("img") == 1
    assert parser.text.count("cannot be read") == len(HOSTILE_PATHS) - 1
    assert "<script>alert(1)</script>.png" not in page
    assert "default-src 'none'" in page
    assert "file:///p/%FF%FE.png" in page


def test_a_request_is_described_in_words() -> None:
    request = SearchRequest(image=b"/x/a.png", emotions=("sad",), excluded=("crying",), min_score=0.5, under=(b"/y",))
    assert describe(request) == "sad, not crying, like /x/a.png, under /y, score at least 0.5"


def test_the_length_of_bars_is_proportional_to_probability() -> None:
    out = io.StringIO()
    write_bars([hit(b"/p/a.png")], out)
    _, where, happy, sad = out.getvalue().splitlines()
    assert where.strip() == "no face cut out: the whole image"
    assert happy.count("█") == 30
    assert sad.count("█") == 10
    assert "75.0%" in happy


def test_faces_have_numbers_and_boxes() -> None:
    faces = [replace(hit(b"/p/a.png"), box=box) for box in ((10, 20, 110, 150), (200, 0, 230, 40))]
    out = io.StringIO()
    write_bars(faces, out)
    assert [line for line in out.getvalue().splitlines() if "face" in line] == [
        "  face 1 of 2 at 100x130+10+20",
        "  face 2 of 2 at 30x40+200+0",
    ]
    out = io.StringIO()
    write_bars(faces[:1], out)
    assert "  face at 100x130+10+20\n" in out.getvalue()


def test_a_table_has_a_column_for_faces_only_if_there_are_faces() -> None:
    out = io.StringIO()
    write_hits([hit(b"/p/a.png"), replace(hit(b"/p/b.png"), box=(10, 20, 110, 150))], "table", "\n", out)
    header, without_face, with_face = out.getvalue().splitlines()
    assert header.index("FACE") == with_face.index("100x130+10+20")
    assert header.index("PATH") == without_face.index("/p/a.png") == with_face.index("/p/b.png")
    out = io.StringIO()
    write_hits([hit(b"/p/a.png")], "table", "\n", out)
    assert "FACE" not in out.getvalue()


def test_paths_below_the_current_folder_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_path(os.fsencode(tmp_path / "a/b.png")) == "a/b.png"
    assert display_path(b"/elsewhere/b.png") == "/elsewhere/b.png"


def test_pluralize_counts() -> None:
    assert (pluralize(1, "file"), pluralize(0, "file"), pluralize(1234, "file")) == ("1 file", "0 files", "1,234 files")


def test_joined_emoji_are_printable() -> None:
    family = "\U0001f468\u200d\U0001f469"
    assert printable(family) == family


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    progress = TerminalProgress()
    progress.scanning(10)
    progress.start(5)
    progress.advance(5, 1)
    progress.finish()
    assert capsys.readouterr().err == ""
    progress.warn("mind\x1b[31m this")
    assert capsys.readouterr().err == "moodex: mind\\x1b[31m this\n"


def test_progress_on_a_terminal_counts_files_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = TerminalProgress()
    progress.scanning(10)
    progress.start(5)
    progress.advance(5, 2)
    progress.finish()
    shown = capsys.readouterr().err
    assert "Scanning: 10 image files" in shown
    assert "5/5" in shown
    assert "2 failed" in shown


ESCAPES = "\x1b]0;owned\x07\u202e|"


def test_names_from_a_foreign_model_are_escaped() -> None:
    """Output escapes names although cards are checked when they are read."""
    out = io.StringIO()
    hostile = replace(hit(b"/p/a.png"), emotion=ESCAPES, emotions={ESCAPES: 0.6, "sad": 0.4}, label=ESCAPES)
    write_bars([hostile], out)
    write_hits([hostile], "table", "\n", out)
    card = ModelCard("m", ESCAPES, "00", (ESCAPES,), InputSpec(32, 0, 1), 8)
    write_models([ListedModel(card, "yours", False, 0)], False, out)
    write_doubts([LabelConflict(b"/p/a.png", "ab" * 32, ESCAPES, 0.1, ESCAPES, 0.9)], False, out)
    write_inspection(Inspection(1, {ESCAPES: 1}, {ESCAPES: {ESCAPES: 1}}, {ESCAPES: {f"{ESCAPES}!": 1}}), False, out)
    out.write(sheet([hostile], ESCAPES, lambda path, box, frame: b"png"))
    assert all(c.isprintable() or c == "\n" for c in out.getvalue())


def test_a_markdown_table_keeps_its_columns() -> None:
    row = ComparisonRow(**{field.name: ESCAPES if field.type == "str" else None for field in fields(ComparisonRow)})  # type: ignore[arg-type]
    out = io.StringIO()
    write_rows([row], False, out)
    header, _, line = out.getvalue().splitlines()
    assert line.isprintable()
    assert line.replace("\\|", "").count("|") == header.count("|")


@pytest.mark.parametrize("title", ["$\\frac{$", "100 $ and 5 $", ESCAPES, "\\$", "{0}%s"])
def test_charts_draw_any_name_literally(tmp_path: Path, title: str) -> None:
    pytest.importorskip("matplotlib")
    evaluation = SimpleNamespace(labels=(title, "sad"), confusion=np.eye(2, dtype=int))
    confusion_chart(evaluation, title, tmp_path / "chart.png")  # type: ignore[arg-type]
    assert (tmp_path / "chart.png").exists()


def test_many_single_files_of_a_folder_share_a_line(tmp_path: Path) -> None:
    files = write_images(tmp_path / "named", 7)
    few = write_images(tmp_path / "few", 2)
    roots = [IndexedRoot(os.fsencode(path), indexed_at=0.0, files=1) for path in (*files, *few, tmp_path)]
    out = io.StringIO()
    write_roots([(root, True) for root in roots], False, out)
    paths = [line.split(maxsplit=3)[3] for line in out.getvalue().splitlines()[1:]]
    assert paths == [*map(str, few), str(tmp_path), f"{tmp_path / 'named'}  (7 single files)"]
