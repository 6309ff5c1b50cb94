"""Names that were made to do harm are shown safely by every command, and come back from it byte by byte for programs."""

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
from tests.support.names import HOSTILE

_ODD = "\x1b]0;owned\x07\u202e<b>"
_TAGS = frozenset(["html", "head", "meta", "title", "style", "body", "h1", "p", "ol", "li", "a", "img", "div", "span", "i"])
_ATTRIBUTES = frozenset(["lang", "charset", "http-equiv", "content", "name", "href", "title", "alt", "src", "class", "style"])
_EVERYTHING = ("search", "--under", "/", "-k", "1000")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder of an odd name, and a folder of the oddest pictures, good and bad, that are indexed there, some labelled."""
    base = Path(os.path.realpath(tmp_path_factory.mktemp("names")))
    home, folder = base / f"home{_ODD}", base / "pictures"
    (folder / "bad").mkdir(parents=True)
    for number, name in enumerate(HOSTILE):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(encoded(draw_blocks(number)))
        Path(os.fsdecode(os.path.join(os.fsencode(folder), b"bad", name))).write_bytes(b"no picture")
    done = run_cli(home, "index", folder)
    assert done.returncode == 3, done.stderr
    clean(done.stdout + done.stderr)
    assert run_cli(home, "label", folder, "--emotion", f"=mood'{chr(0x1F600)}", "--new").returncode == 0
    return home, folder


def good(folder: Path) -> set[bytes]:
    return {os.path.join(os.fsencode(folder), name) for name in HOSTILE}


def clean(said: bytes) -> str:
    """Text that no terminal takes for a command, and that has no line that it was not meant to have."""
    text = said.decode()
    odd = {c for c in text if not c.isprintable() and c not in "\n\u200d"}
    assert not odd, (odd, text)
    return text


def on_terminal(home: Path, *words: str | bytes | Path) -> bytes:
    """What a command writes where a terminal reads."""
    ours, theirs = pty.openpty()
    arguments = [os.fsencode(word) if isinstance(word, Path) else word for word in words]
    command = [sys.executable, ROOT / "cli.py", "--home", home, *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.STDOUT, env=environment(home)) as run:
        os.close(theirs)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)
    assert run.returncode == 0, said
    return said.replace(b"\r\n", b"\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that a terminal has been closed
        return b""


@pytest.mark.process
@pytest.mark.parametrize("form", ["table", "csv", "paths", "json", "jsonl", "html"])
def test_a_search_on_a_terminal_commands_nothing(stock: tuple[Path, Path], form: str) -> None:
    text = clean(on_terminal(stock[0], *_EVERYTHING, "--format", form))
    if form == "html":
        assert text == f"{printable(str(stock[0]))}/sheet.html\n"
    elif form in ("table", "csv"):
        assert len(text.splitlines()) == len(HOSTILE) + 1


def test_programs_get_every_byte(stock: tuple[Path, Path], tmp_path: Path) -> None:
    home, folder = stock
    wanted = good(folder)
    assert {os.fsencode(hit["path"]) for hit in json.loads(run_cli(home, *_EVERYTHING, "-f", "json").stdout)} == wanted
    lines = run_cli(home, *_EVERYTHING, "-f", "jsonl").stdout.splitlines()
    assert {os.fsencode(json.loads(line)["path"]) for line in lines} == wanted
    assert from_csv(run_cli(home, *_EVERYTHING, "-f", "csv").stdout) == wanted
    assert from_csv(run_cli(home, "label", "--list").stdout) == wanted
    ended = run_cli(home, *_EVERYTHING, "-0").stdout
    assert set(ended.split(b"\0")[:-1]) == wanted
    sizes = subprocess.run(["xargs", "-0", "stat", "-c", "%s"], input=ended, capture_output=True, check=True)
    assert len(sizes.stdout.splitlines()) == len(wanted)
    for suffix in ("csv", "jsonl"):
        target = tmp_path / f"{_ODD}.{suffix}"
        clean(run_cli(home, "export", target).stdout)
        assert from_export(target) == wanted


def test_parquet_holds_text_with_what_is_none_escaped(stock: tuple[Path, Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    home, folder = stock
    clean(run_cli(home, "export", tmp_path / f"{_ODD}.parquet").stdout)
    paths = parquet.read_table(tmp_path / f"{_ODD}.parquet")["path"].to_pylist()
    assert set(paths) == {path.decode("utf-8", "backslashreplace") for path in good(folder)}


def from_csv(data: bytes) -> set[bytes]:
    return {os.fsencode(row["path"]) for row in csv.DictReader(io.StringIO(os.fsdecode(data), newline=""))}


def from_export(file: Path) -> set[bytes]:
    if file.suffix == ".csv":
        return from_csv(file.read_bytes())
    return {os.fsencode(json.loads(line)["path"]) for line in file.read_bytes().splitlines()}


def test_labels_go_out_and_come_in_as_they_are(stock: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(run_cli(stock[0], "label", "--list").stdout)
    changed = json.loads(run_cli(stock[0], "import", table, "--json").stdout)
    assert changed == {"changed": 0, "unchanged": len(HOSTILE)}


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
        ("schedule", "list"),
        ("schedule", "unit"),
        ("doctor",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_commands_say_on_a_terminal_is_safe(stock: tuple[Path, Path], words: tuple[str, ...]) -> None:
    said = on_terminal(stock[0], *words)
    for part in (b"\r\x1b[K", b"\r", b"\x1b[A", b"\x1b[?25l", b"\x1b[?25h"):  # what the progress bar itself writes
        said = said.replace(part, b"") if words == ("doctor",) else said
    clean(said)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith((b"\x1b", b"-", b"\r", b"\xff", b"="))])
def test_one_picture_is_shown_safely(stock: tuple[Path, Path], name: bytes) -> None:
    home, folder = stock
    path = os.path.join(os.fsencode(folder), name)
    assert clean(run_cli(home, "show", path).stdout).count("\n") > 5
    assert os.fsencode(json.loads(run_cli(home, "show", path, "--json").stdout)["path"]) == path
    similar = run_cli(home, "search", "--like", path, "-k", "1", "-0").stdout
    assert similar == path + b"\0"


def test_a_job_for_an_odd_folder(stock: tuple[Path, Path]) -> None:
    home, folder = stock
    path = os.path.join(os.fsencode(folder), b"\x1b[2J\x1b[31mred.png")
    metrics = home.parent / f"metrics{_ODD}.prom"
    clean(run_cli(home, "schedule", "add", "nightly", path, "--every", "1h").stdout)
    clean(run_cli(home, "schedule", "list").stdout)
    (listed,) = json.loads(run_cli(home, "schedule", "list", "--json").stdout)
    assert list(map(os.fsencode, listed["paths"])) == [path]
    ran = run_cli(home, "schedule", "run", "--once", "--metrics", metrics)
    clean(ran.stdout + ran.stderr)
    clean(metrics.read_bytes())
    assert b"A crontab cannot contain" in run_cli(home, "schedule", "unit", "--crontab").stderr
    clean(run_cli(home, "schedule", "unit", "--output", home.parent / f"units{_ODD}").stdout)
    clean(run_cli(home, "schedule", "remove", "nightly").stdout)


def test_the_sheet_is_a_page_whose_links_lead_to_the_pictures(stock: tuple[Path, Path]) -> None:
    home, folder = stock
    page = Page()
    page.feed(clean(run_cli(home, *_EVERYTHING, "-f", "html").stdout))
    page.close()
    assert page.tags <= {
        *["html", "head", "meta", "title", "style", "body", "h1", "p", "ol", "li", "a", "img", "div", "span", "i"]
    }
    assert page.attributes <= {
        *["lang", "charset", "http-equiv", "content", "name", "href", "title", "alt", "src", "class", "style"]
    }
    assert page.links == good(folder)


class Page(HTMLParser):
    """What elements and attributes a page has, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[bytes] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        facts = dict(attrs)
        if tag == "a":
            link = facts["href"] or ""
            assert link.startswith("file:///")
            assert not {"?", "#"} & set(link)
            self.links.add(unquote_to_bytes(link.removeprefix("file://")))
        if tag == "img":
            assert (facts["src"] or "").startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["index", f"/none{_ODD}"], 2),
        (["index", ROOT / "examples/images", "--model", _ODD], 6),
        (["index", ROOT / "examples/images", "--device", _ODD], 6),
        (["search", "-e", _ODD], 2),
        (["search", f"/none{_ODD}.png"], 2),
        (["search", "--like", _ODD], 2),
        (["search", f"--{_ODD}"], 2),
        (["search", "-k", _ODD], 2),
        (["search", "a", "b", _ODD], 2),
        (["show", f"/none{_ODD}.png"], 2),
        ([f"sea{_ODD}"], 2),
        (["label", f"/none{_ODD}", "--emotion", "happy"], 2),
        (["label", f"/none{_ODD}", "--emotion", _ODD, "--new"], 2),
        (["import", f"/none{_ODD}.csv"], 2),
        (["models", "add", f"/none{_ODD}.safetensors"], 2),
        (["models", "default", _ODD], 6),
        (["models", "remove", _ODD], 6),
        (["schedule", "add", _ODD, "/", "--every", "1h"], 2),
        (["schedule", "add", "ok", "/", "--cron", _ODD], 2),
        (["schedule", "remove", _ODD], 2),
        (["export", f"/none{_ODD}/a.csv"], 2),
        (["restore", f"/none{_ODD}"], 2),
        (["train", f"/none{_ODD}", "--check"], 2),
        (["explain", f"/none{_ODD}.png"], 2),
        (["--debug", "models", "default", _ODD], 6),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_errors_are_safe_in_text_and_in_json(stock: tuple[Path, Path], words: list[str | Path], code: int, form: str) -> None:
    done = run_cli(stock[0], "--log-format", form, *words)
    assert done.returncode == code
    lines = clean(done.stderr).splitlines()
    if form == "json":
        assert "owned" in json.loads(lines[-1])["message"]
    else:
        assert "\\x1b]0;owned\\x07\\u202e" in lines[-1]
        assert len(lines) == 1 or "--debug" in words


_NAMES = st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"|"))
_TERMINAL = "\x1b\x07\x08\r\n\t\x7f\x9b\u202e\u200b\ud800<>&\"'"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.lists(_NAMES, min_size=1, max_size=5), st.text(st.sampled_from(_TERMINAL) | st.characters(), min_size=1, max_size=20))
@examples(100)
def test_any_name_and_any_emotion(names: list[bytes], emotion: str) -> None:
    hits = [Hit(b"/p/" + name, "ab" * 32, emotion, 0.5, {emotion: 0.5}) for name in names]
    for form in ("table", "csv", "paths", "json", "jsonl"):
        out = Terminal()
        write_hits(hits, form, "\n", out)
        clean(out.getvalue().encode())
    page = Page()
    page.feed(clean(sheet(hits, emotion, lambda _path, _box: b"png").encode()))
    assert page.links == {hit.path for hit in hits}
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw)
    write_hits([Hit(hit.path, hit.image_id, "happy", 0.5, {"happy": 0.5}) for hit in hits], "csv", "\n", file)
    assert from_csv(raw.getvalue()) == page.links
