"""Random damage of the database: every command ends with an exit code of the contract and at most one sentence."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import damage
from tests.support.effort import examples
from tests.support.library import Library

PAGE_BYTES = 4096
damages = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**31), st.integers(1, 255)),
    st.tuples(st.just("noise"), st.integers(0, 2**31), st.integers(1, 3 * PAGE_BYTES)),
    st.tuples(st.just("zeros"), st.integers(0, 2**31), st.integers(1, 3 * PAGE_BYTES)),
    st.tuples(st.just("cut"), st.integers(0, 2**31), st.just(0)),
    st.tuples(st.just("log"), st.integers(0, 2**31), st.integers(1, 3 * PAGE_BYTES)),
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return damage.build(tmp_path_factory.mktemp("intact"))


def damage_file(library: Library, kind: str, position: int, amount: int) -> None:
    """Damage the database file, or write a foreign log for it, from a position in the file on."""
    database = library.settings.database
    data = bytearray(database.read_bytes())
    start = position % max(len(data), 1)
    damaged = slice(start, min(start + amount, len(data)))
    match kind:
        case "flip" if data:
            data[start] ^= amount
        case "noise":
            data[damaged] = bytes((position + 7 * n * n) % 256 for n in range(damaged.stop - damaged.start))
        case "zeros":
            data[damaged] = bytes(damaged.stop - damaged.start)
        case "cut":
            del data[start:]
        case "log":
            noise = bytes((position + 7 * n * n) % 256 for n in range(amount))
            database.with_name(database.name + "-wal").write_bytes(noise)
    database.write_bytes(data)


@given(history=st.lists(damages, min_size=1, max_size=4))
@example(history=[("zeros", 9995, 10000)])  # the index of the table that records the steps of the schema
@examples(10, shared=True)
def test_any_damage(intact: Library, history: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        library = damage.copy(intact, Path(folder))
        for step in history:
            damage_file(library, *step)
        image, out = library.folder / "a/005.png", Path(folder)
        commands: list[list[str | Path]] = [
            ["status"],
            ["search", "-e", "happy"],
            ["search", "--like", image],
            ["show", image],
            ["label", "--list"],
            ["doubts"],
            ["teach", "--suggest", "3"],
            ["models", "list"],
            ["export", out / "all.csv"],
            ["backup", out / "backup.zip"],
            ["doctor"],
            ["label", image, "-e", "happy"],
        ]
        with damage.program(library) as run:
            for words in commands:
                before = library.settings.database.read_bytes()
                answer = run(*words)
                assert answer.code in (0, 2, 5), (words, answer)
                assert answer.error.count("\n") == (answer.code != 0) or words[0] == "doctor", (words, answer)
                assert "Unexpected" not in answer.error and "Traceback" not in answer.error, (words, answer)
                if answer.code == 5 and "-wal" not in {path.suffix for path in library.settings.home.iterdir()}:
                    assert library.settings.database.read_bytes()[: len(before)] == before, words
            repaired = run("doctor", "--repair")
            assert repaired.code == 0 or "Nothing can be read" in repaired.error, repaired
            if repaired.code == 0:
                assert run("index", library.folder).code == 3  # one file of the library is not an image
                assert run("doctor").code == 0
