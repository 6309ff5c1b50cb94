"""Hostile file names: every command prints them safely, and programs get every byte of them."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.output.contact_sheet import sheet
from commands.output.hits import write_hits
from indexer.domain.queries import Hit
from indexer.system.text import printable
from tests.e2e.conftest import ROOT, environment, run_cli
from tests.support.builders import draw_blocks, encoded
from tests.support.effort import examples
from tests.support.names import HOSTILE_NAMES

_HOSTILE_TEXT = "\x1b]0;owned\x07\u202e<b>"
_TAGS = frozenset(["html", "head", "meta", "title", "style", "body", "h1", "p", "ol", "li", "a", "img", "div", "span", "i"])
_ATTRIBUTES = frozenset(["lang", "charset", "http-equiv", "content", "name", "href", "title", "alt", "src", "class", "style"])
_SEARCH_ALL = ("search", "--under", "/", "-k", "1000")


@pytest.fixture(scope="module")
def hostile_library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder with a hostile name, and an indexed folder of hostile names: images, which are labeled, and broken files."""
    base = Path(os.path.realpath(tmp_path_factory.mktemp("names")))
    home, folder = base / f"home{_HOSTILE_TEXT}", base / "images"
    (folder / "bad").mkdir(parents=True)
    for number, name in enumerate(HOSTILE_NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(encoded(draw_blocks(number)))
        Path(os.fsdecode(os.path.join(os.fsencode(folder), b"bad", name))).write_bytes(b"not an image")
    done = run_cli(home, "index", folder)
    assert done.returncode == 3, done.stderr
    safe_text(done.stdout + done.stderr)
    assert run_cli(home, "label", folder, "--emotion", f"=mood'{chr(0x1F600)}", "--new").returncode == 0
    return home, folder


def image_paths(folder: Path) -> set[bytes]:
    """Return the paths of the images with hostile names."""
    return {os.path.join(os.fsencode(folder), name) for name in HOSTILE_NAMES}


def safe_text(output: bytes) -> str:
    """Assert that output has no terminal controls and no characters that do not print; return it as text."""
    text = output.decode()
    unsafe = {c for c in text if not c.isprintable() and c not in "\n\u200d"}
    assert not unsafe, (unsafe, text)
    return text


def terminal_output(home: Path, *words: str | bytes | Path) -> bytes:
    """Run a command on a pseudo-terminal; return what it printed."""
    controller, terminal = pty.openpty()
    arguments = [os.fsencode(word) if isinstance(word, Path) else word for word in words]
    command = [sys.executable, ROOT / "cli.py", "--home", home, *arguments]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.STDOUT, env=environment(home)) as run:
        os.close(terminal)
        output = b""
        while chunk := _read(controller):
            output += chunk
    os.close(controller)
    assert run.returncode == 0, output
    return output.replace(b"\r\n", b"\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux raises this when the other end of a terminal is closed.
        return b""


@pytest.mark.process
@pytest.mark.parametrize("form", ["table", "csv", "paths", "json", "jsonl", "html"])
def test_a_search_sends_no_controls_to_a_terminal(hostile_library: tuple[Path, Path], form: str) -> None:
    text = safe_text(terminal_output(hostile_library[0], *_SEARCH_ALL, "--format", form))
    if form == "html":
        assert text == f"{printable(str(hostile_library[0]))}/sheet.html\n"
    elif form in ("table", "csv"):
        assert len(text.splitlines()) == len(HOSTILE_NAMES) + 1


def test_programs_get_every_byte(hostile_library: tuple[Path, Path], tmp_path: Path) -> None:
    home, folder = hostile_library
    expected = image_paths(folder)
    assert {os.fsencode(hit["path"]) for hit in json.loads(run_cli(home, *_SEARCH_ALL, "-f", "json").stdout)} == expected
    lines = run_cli(home, *_SEARCH_ALL, "-f", "jsonl").stdout.splitlines()
    assert {os.fsencode(json.loads(line)["path"]) for line in lines} == expected
    assert paths_from_csv(run_cli(home, *_SEARCH_ALL, "-f", "csv").stdout) == expected
    assert paths_from_csv(run_cli(home, "label", "--list").stdout) == expected
    null_separated = run_cli(home, *_SEARCH_ALL, "-0").stdout
    assert set(null_separated.split(b"\0")[:-1]) == expected
    sizes = subprocess.run(["xargs", "-0", "stat", "-c", "%s"], input=null_separated, capture_output=True, check=True)
    assert len(sizes.stdout.splitlines()) == len(expected)
    for suffix in ("csv", "jsonl"):
        target = tmp_path / f"{_HOSTILE_TEXT}.{suffix}"
        safe_text(run_cli(home, "export", target).stdout)
        assert paths_from_export(target) == expected


def test_parquet_has_text_with_other_bytes_escaped(hostile_library: tuple[Path, Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    home, folder = hostile_library
    safe_text(run_cli(home, "export", tmp_path / f"{_HOSTILE_TEXT}.parquet").stdout)
    paths = parquet.read_table(tmp_path / f"{_HOSTILE_TEXT}.parquet")["path"].to_pylist()
    assert set(paths) == {path.decode("utf-8", "backslashreplace") for path in image_paths(folder)}


def paths_from_csv(data: bytes) -> set[bytes]:
    return {os.fsencode(row["path"]) for row in csv.DictReader(io.StringIO(os.fsdecode(data), newline=""))}


def paths_from_export(file: Path) -> set[bytes]:
    if file.suffix == ".csv":
        return paths_from_csv(file.read_bytes())
    return {os.fsencode(json.loads(line)["path"]) for line in file.read_bytes().splitlines()}


def test_an_export_and_import_of_labels_changes_nothing(hostile_library: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(run_cli(hostile_library[0], "label", "--list").stdout)
    changed = json.loads(run_cli(hostile_library[0], "import", table, "--json").stdout)
    assert changed == {"changed": 0, "unchanged": len(HOSTILE_NAMES)}


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ("status", "--failures", "1000"),
        ("runs",),
        ("doubts",),
        ("teach", "--suggest", "5"),
        ("models", "list"),
        ("models", "default"),
        ("label", "--list"),
        ("label", "--orphans"),
        ("roots",),
        ("schedule", "list"),
        ("schedule", "unit"),
        ("doctor",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_commands_print_safely_on_a_terminal(hostile_library: tuple[Path, Path], words: tuple[str, ...]) -> None:
    output = terminal_output(hostile_library[0], *words)
    for control in (b"\r\x1b[K", b"\r", b"\x1b[A", b"\x1b[?25l", b"\x1b[?25h"):  # the progress bar writes these
        output = output.replace(control, b"") if words == ("doctor",) else output
    safe_text(output)


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name.startswith((b"\x1b", b"-", b"\r", b"\xff", b"="))])
def test_one_image_is_shown_safely(hostile_library: tuple[Path, Path], name: bytes) -> None:
    home, folder = hostile_library
    path = os.path.join(os.fsencode(folder), name)
    assert safe_text(run_cli(home, "show", path).stdout).count("\n") > 5
    assert os.fsencode(json.loads(run_cli(home, "show", path, "--json").stdout)["path"]) == path
    similar = run_cli(home, "search", "--like", path, "-k", "1", "-0").stdout
    assert similar == path + b"\0"


def test_a_job_for_a_folder_with_a_hostile_name_is_printed_safely(hostile_library: tuple[Path, Path]) -> None:
    home, folder = hostile_library
    path = os.path.join(os.fsencode(folder), b"\x1b[2J\x1b[31mred.png")
    metrics = home.parent / f"metrics{_HOSTILE_TEXT}.prom"
    safe_text(run_cli(home, "schedule", "add", "nightly", path, "--every", "1h").stdout)
    safe_text(run_cli(home, "schedule", "list").stdout)
    (listed,) = json.loads(run_cli(home, "schedule", "list", "--json").stdout)
    assert list(map(os.fsencode, listed["paths"])) == [path]
    done = run_cli(home, "schedule", "run", "--once", "--metrics", metrics)
    safe_text(done.stdout + done.stderr)
    safe_text(metrics.read_bytes())
    assert b"A crontab cannot contain" in run_cli(home, "schedule", "unit", "--crontab").stderr
    safe_text(run_cli(home, "schedule", "unit", "--output", home.parent / f"units{_HOSTILE_TEXT}").stdout)
    safe_text(run_cli(home, "schedule", "remove", "nightly").stdout)


def test_the_links_of_a_contact_sheet_are_the_paths_of_its_images(hostile_library: tuple[Path, Path]) -> None:
    home, folder = hostile_library
    page = PageParser()
    page.feed(safe_text(run_cli(home, *_SEARCH_ALL, "-f", "html").stdout))
    page.close()
    assert page.tags <= _TAGS
    assert page.attributes <= _ATTRIBUTES
    assert page.links == image_paths(folder)


class PageParser(HTMLParser):
    """The tags and attributes of a page, and the paths that its links have."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[bytes] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        values = dict(attrs)
        if tag == "a":
            link = values["href"] or ""
            assert link.startswith("file:///")
            assert not {"?", "#"} & set(link)
            self.links.add(unquote_to_bytes(link.removeprefix("file://")))
        if tag == "img":
            assert (values["src"] or "").startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["index", f"/none{_HOSTILE_TEXT}"], 2),
        (["index", ROOT / "examples/images", "--model", _HOSTILE_TEXT], 6),
        (["index", ROOT / "examples/images", "--device", _HOSTILE_TEXT], 6),
        (["search", "-e", _HOSTILE_TEXT], 2),
        (["search", f"/none{_HOSTILE_TEXT}.png"], 2),
        (["search", "--like", _HOSTILE_TEXT], 2),
        (["search", f"--{_HOSTILE_TEXT}"], 2),
        (["search", "-k", _HOSTILE_TEXT], 2),
        (["search", "a", "b", _HOSTILE_TEXT], 2),
        (["show", f"/none{_HOSTILE_TEXT}.png"], 2),
        ([f"sea{_HOSTILE_TEXT}"], 2),
        (["label", f"/none{_HOSTILE_TEXT}", "--emotion", "happy"], 2),
        (["label", f"/none{_HOSTILE_TEXT}", "--emotion", _HOSTILE_TEXT, "--new"], 2),
        (["import", f"/none{_HOSTILE_TEXT}.csv"], 2),
        (["models", "add", f"/none{_HOSTILE_TEXT}.safetensors"], 2),
        (["models", "add", f"hf:{_HOSTILE_TEXT}"], 2),
        (["models", "calibrate", _HOSTILE_TEXT, "/"], 6),
        (["models", "blend", "both", "moodex-lite0", _HOSTILE_TEXT], 6),
        (["compare-models", f"/none{_HOSTILE_TEXT}", "moodex-lite0"], 2),
        (["search", "--tag", _HOSTILE_TEXT], 2),
        (["models", "default", _HOSTILE_TEXT], 6),
        (["models", "remove", _HOSTILE_TEXT], 6),
        (["schedule", "add", _HOSTILE_TEXT, "/", "--every", "1h"], 2),
        (["schedule", "add", "ok", "/", "--cron", _HOSTILE_TEXT], 2),
        (["schedule", "remove", _HOSTILE_TEXT], 2),
        (["export", f"/none{_HOSTILE_TEXT}/a.csv"], 2),
        (["restore", f"/none{_HOSTILE_TEXT}"], 2),
        (["train", f"/none{_HOSTILE_TEXT}", "--check"], 2),
        (["explain", f"/none{_HOSTILE_TEXT}.png"], 2),
        (["--debug", "models", "default", _HOSTILE_TEXT], 6),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_errors_are_safe_in_text_and_in_json(
    hostile_library: tuple[Path, Path], words: list[str | Path], code: int, form: str
) -> None:
    done = run_cli(hostile_library[0], "--log-format", form, *words)
    assert done.returncode == code
    lines = safe_text(done.stderr).splitlines()
    if form == "json":
        assert "owned" in json.loads(lines[-1])["message"]
    else:
        assert "\\x1b]0;owned\\x07\\u202e" in lines[-1]
        assert len(lines) == 1 or "--debug" in words


_FILE_NAMES = st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"|"))
_RISKY_CHARACTERS = "\x1b\x07\x08\r\n\t\x7f\x9b\u202e\u200b\ud800<>&\"'"


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(
    st.lists(_FILE_NAMES, min_size=1, max_size=5),
    st.text(st.sampled_from(_RISKY_CHARACTERS) | st.characters(), min_size=1, max_size=20),
)
@examples(100)
def test_any_name_and_any_emotion_are_printed_safely(names: list[bytes], emotion: str) -> None:
    hits = [Hit(b"/p/" + name, "ab" * 32, emotion, 0.5, {emotion: 0.5}) for name in names]
    for form in ("table", "csv", "paths", "json", "jsonl"):
        out = FakeTerminal()
        write_hits(hits, form, "\n", out)
        safe_text(out.getvalue().encode())
    page = PageParser()
    page.feed(safe_text(sheet(hits, emotion, lambda _path, _box, _frame: b"png").encode()))
    assert page.links == {hit.path for hit in hits}
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw)
    write_hits([Hit(hit.path, hit.image_id, "happy", 0.5, {"happy": 0.5}) for hit in hits], "csv", "\n", file)
    assert paths_from_csv(raw.getvalue()) == page.links
