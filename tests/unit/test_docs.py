"""The documents agree with the program and with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/images/ATTRIBUTION.md"]


_CITED = re.compile(r"`((?:bench|commands|db|docs|examples|indexer|models|recipes|tests|web)/[\w./-]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return the text of a page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> Iterator[str]:
    """Yield the anchors of a page's headings, in the form of GitHub and of the documentation site."""
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading)
        yield re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


def test_the_command_line_reference_is_current() -> None:
    spec = spec_from_file_location("generate_cli", ROOT / "docs/generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == module.reference() + "\n", "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_in_documents_have_targets(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in set(anchors(target)), link


def test_files_and_tests_named_in_documents_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    definitions = set(re.findall(r"^def (test_\w+)|^    def (test_\w+)", tests, re.MULTILINE))
    functions = {name for pair in definitions for name in pair} | {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = prose(page)
        assert not [path for path in _CITED.findall(text) if not (ROOT / path).exists()], page.name
        assert not set(re.findall(r"\b(test_\w+)\b", text)) - functions, page.name


def test_classes_named_in_documents_exist() -> None:
    packages = [ROOT / name for name in ("commands", "db", "indexer", "models")]
    sources = [path.read_text(encoding="utf-8") for package in packages for path in package.rglob("*.py")]
    classes = set(re.findall(r"^class (\w+)", "\n".join(sources), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w*)`", prose(page)))
        assert not named - classes, page.name


def test_documents_named_in_code_exist() -> None:
    folders = ("bench", "commands", "db", "docs", "indexer", "models", "recipes", "tests")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    for source in [*sources, ROOT / "cli.py", ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "mkdocs.yml"]:
        for path in re.findall(r"\bdocs/[\w/-]+\.(?:md|png)\b", source.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{source.name}: {path}"


def test_the_navigation_has_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(rf"[ -]{re.escape(name)}$", navigation, re.MULTILINE), f"mkdocs.yml lacks {name}"
    for page in sorted((ROOT / "docs/adr").glob("0*.md")):
        assert f"]({page.name})" in (ROOT / "docs/adr/index.md").read_text(encoding="utf-8"), page.name


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test"} <= used <= targets


def test_the_speed_of_every_recommended_model_is_measured() -> None:
    guide = (ROOT / "docs/guides/which-model.md").read_text(encoding="utf-8")
    facts = guide[guide.index("## Facts") : guide.index("## On my images")]
    script = (ROOT / "bench/model_speed.py").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)`", facts, re.MULTILINE)
    assert len(named) >= 6
    assert [name for name in named if not re.search(rf'^    "{re.escape(name)}["|,]', script, re.MULTILINE)] == []
