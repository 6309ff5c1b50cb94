"""Whatever bytes of the database are lost, every command answers with an exit code of the contract and at most a sentence."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import damage
from tests.support.effort import examples
from tests.support.library import Library

PAGE = 4096
blows = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**31), st.integers(1, 255)),
    st.tuples(st.just("noise"), st.integers(0, 2**31), st.integers(1, 3 * PAGE)),
    st.tuples(st.just("zeros"), st.integers(0, 2**31), st.integers(1, 3 * PAGE)),
    st.tuples(st.just("cut"), st.integers(0, 2**31), st.just(0)),
    st.tuples(st.just("log"), st.integers(0, 2**31), st.integers(1, 3 * PAGE)),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return damage.build(tmp_path_factory.mktemp("sound"))


def strike(library: Library, kind: str, place: int, amount: int) -> None:
    database = library.settings.database
    data = bytearray(database.read_bytes())
    start = place % max(len(data), 1)
    some = slice(start, min(start + amount, len(data)))
    match kind:
        case "flip" if data:
            data[start] ^= amount
        case "noise":
            data[some] = bytes((place + 7 * n * n) % 256 for n in range(some.stop - some.start))
        case "zeros":
            data[some] = bytes(some.stop - some.start)
        case "cut":
            del data[start:]
        case "log":
            noise = bytes((place + 7 * n * n) % 256 for n in range(amount))
            database.with_name(database.name + "-wal").write_bytes(noise)
    database.write_bytes(data)


@given(struck=st.lists(blows, min_size=1, max_size=4))
@example(struck=[("zeros", 9995, 10000)])  # the index of the table that records the steps of the schema
@examples(10, shared=True)
def test_any_damage(sound: Library, struck: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        library = damage.copy(sound, Path(folder))
        for blow in struck:
            strike(library, *blow)
        picture, out = library.folder / "a/005.png", Path(folder)
        commands: list[list[str | Path]] = [
            ["status"],
            ["search", "-e", "happy"],
            ["search", "--like", picture],
            ["show", picture],
            ["label", "--list"],
            ["doubts"],
            ["teach", "--suggest", "3"],
            ["models", "list"],
            ["export", out / "all.csv"],
            ["backup", out / "backup.zip"],
            ["doctor"],
            ["label", picture, "-e", "happy"],
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
            mended = run("doctor", "--repair")
            assert mended.code == 0 or "Nothing can be read" in mended.error, mended
            if mended.code == 0:
                assert run("index", library.folder).code == 3  # one of the pictures is none
                assert run("doctor").code == 0
