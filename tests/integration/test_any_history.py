"""Random changes of a folder: an index run classifies no bytes twice and counts every file once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import draw_blocks, encoded
from tests.support.effort import examples
from tests.support.library import Library

PATHS = [Path(name) for name in ("a.png", "b.png", "x/c.png", "x/d.png", "x/y/e.png", "z/f.png")]
INVALID_CONTENTS = [b"not an image", b""]
CONTENTS = [encoded(draw_blocks(seed, (12, 10))) for seed in range(4)] + INVALID_CONTENTS

path = st.sampled_from(PATHS)
steps = st.one_of(
    st.tuples(st.just("write"), path, st.sampled_from(CONTENTS)),
    st.tuples(st.just("copy"), path, path),
    st.tuples(st.just("rename"), path, path),
    st.tuples(st.just("swap"), path, path),
    st.tuples(st.just("touch"), path, st.integers(1, 10**9)),
    st.tuples(st.just("delete"), path, st.none()),
    st.tuples(st.just("index"), st.none(), st.booleans()),
)


class ChangingFolder:
    """A folder and its library; each method is one change. Every write gets a different time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "images"
        self.folder.mkdir()
        self.library = Library(self.folder, folder / "home")
        self.clock = 10**9
        self.classified: set[bytes] = set()

    def stamp(self, file: Path) -> None:
        self.clock += 1
        os.utime(file, ns=(self.clock, self.clock))

    def write(self, name: Path, data: bytes) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self.stamp(file)

    def copy(self, name: Path, other: Path) -> None:
        if (self.folder / name).exists():
            self.write(other, (self.folder / name).read_bytes())

    def rename(self, name: Path, other: Path) -> None:
        if (self.folder / name).exists():
            (self.folder / other).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).rename(self.folder / other)
            self.stamp(self.folder / other)

    def swap(self, name: Path, other: Path) -> None:
        if (self.folder / name).exists() and (self.folder / other).exists() and name != other:
            temporary = self.folder.parent / "temporary"
            shutil.move(self.folder / name, temporary)
            shutil.move(self.folder / other, self.folder / name)
            shutil.move(temporary, self.folder / other)

    def touch(self, name: Path, _: int) -> None:
        if (self.folder / name).exists():
            self.stamp(self.folder / name)

    def delete(self, name: Path, _: None) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def index(self, _: None, force: bool) -> None:
        files = {file: file.read_bytes() for file in self.folder.rglob("*.png")}
        images = {data for data in files.values() if data not in INVALID_CONTENTS}
        before = self.library.classifier.classified
        summary = self.library.index(prune=True, force=force)
        counted = summary.indexed + summary.reused + summary.unchanged + summary.moved + summary.failed
        assert min(summary.indexed, summary.reused, summary.moved) >= 0
        assert summary.scanned == counted == len(files)
        assert summary.failed == sum(data in INVALID_CONTENTS for data in files.values())
        computed = self.library.classifier.classified - before
        assert computed == len(images if force else images - self.classified)
        self.classified |= images
        good = {str(file.relative_to(self.folder)) for file, data in files.items() if data in images}
        assert self.library.paths() == good
        if good:
            like = os.fsencode(self.folder / min(good))
            assert len(self.library.search(like=like)) == len(good)


@given(history=st.lists(steps, min_size=4, max_size=14))
@examples(40)
def test_any_history(history: list[tuple[str, object, object]]) -> None:
    with TemporaryDirectory() as folder:
        changing_folder = ChangingFolder(Path(folder))
        for name, first, second in [*history, ("index", None, False), ("index", None, False)]:
            step: Callable[[object, object], None] = getattr(changing_folder, name)
            step(first, second)
