"""A short fuzz of decoding, a structured one, and what is meant to cost much; `make fuzz` goes on for longer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.imaging.decode import decode
from tests.fuzz import bombs, pieces
from tests.fuzz.bench import MEMORY, Bench
from tests.fuzz.decoding import Tally, cases
from tests.fuzz.judge import SPEC
from tests.fuzz.seeds import seeds
from tests.support.effort import examples

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does")

_SEED, _TRIES = 0, 800
_SLOW = 10.0
"""Seconds of a processor that no bomb may take; most take none."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_every_seed_is_a_picture() -> None:
    for name, data in seeds().items():
        assert decode(data, SPEC).pixels.shape == (SPEC.size, SPEC.size, 3), name


def test_broken_pictures(bench: Bench) -> None:
    tally = Tally()
    for name, data in islice(cases(_SEED, seeds()), _TRIES):
        tally.add(name, bench.try_(data))
    assert not tally.wrong
    assert len(tally.kinds) >= len({name.split("-")[0] for name in seeds()})
    assert tally.largest[0] < MEMORY


def test_the_same_seed_gives_the_same_pictures() -> None:
    known = seeds()
    assert list(islice(cases(7, known), 50)) == list(islice(cases(7, known), 50))


_NUMBERS = st.sampled_from([0, 1, 2, 3, 16, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
_TAGS = st.tuples(
    st.sampled_from(
        [256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 700]
    ),
    st.integers(0, 18),
    _NUMBERS,
    st.binary(max_size=24),
)


@given(st.lists(st.lists(_TAGS, max_size=14), min_size=1, max_size=3), st.binary(max_size=64), st.booleans())
@examples(150)
def test_tiffs_of_any_tags(bench: Bench, pages: list[list[pieces.Entry]], data: bytes, loops: bool) -> None:
    full = [[*pieces.grey_page(8, 8), *page] for page in pages]
    for made in (pages, full):
        assert not bench.try_(pieces.tiff(made, data.ljust(64, b"\0"), loops)).wrong


_CHUNKS = st.tuples(
    st.sampled_from([b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"xyzw"]),
    st.binary(max_size=40) | st.binary(max_size=40).map(lambda body: b"name\0\0" + pieces.deflated(body)),
)


@given(
    _NUMBERS,
    _NUMBERS,
    st.integers(0, 32),
    st.integers(0, 7),
    st.integers(0, 2),
    st.lists(_CHUNKS, max_size=6),
    st.binary(max_size=300),
)
@examples(150)
def test_pngs_of_any_chunks(
    bench: Bench,
    width: int,
    height: int,
    depth: int,
    colour: int,
    interlaced: int,
    chunks: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    for sides in ((width, height), (8, 8)):
        header = pieces.png_header(*sides, depth, colour, interlaced)
        data = pieces.png([header, *chunks, (b"IDAT", pieces.deflated(body)), *chunks, (b"IEND", b"")])
        assert not bench.try_(data).wrong


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 64),
    st.integers(0, 15),
    st.binary(max_size=80),
)
@examples(150)
def test_bitmaps_of_any_header(bench: Bench, width: int, height: int, bits: int, compression: int, body: bytes) -> None:
    for sides in ((width, height), (8, 8)):
        assert not bench.try_(pieces.bmp(*sides, bits, compression, body, 16)).wrong


@pytest.mark.parametrize("name", bombs.bombs())
def test_what_is_meant_to_cost_much_does_not(bench: Bench, name: str) -> None:
    outcome = bench.try_(bombs.bombs()[name]())
    assert not outcome.wrong
    assert outcome.seconds < _SLOW
    assert outcome.peak < bombs.MOST.get(name, 200_000_000)


def test_of_100_000_frames_one_is_decoded(bench: Bench) -> None:
    for name in ("png-frames", "gif-frames", "webp-frames"):
        assert bench.try_(bombs.bombs()[name]()).kind == "decoded", name


def test_many_scans_are_decoded_in_proportion(bench: Bench) -> None:
    outcome = bench.try_(bombs.scans(2000, 100))
    assert (outcome.kind, outcome.wrong) == ("decoded", "")
    assert outcome.seconds < _SLOW


def test_a_crash_a_hang_and_a_glutton_are_told_apart() -> None:
    """The bench itself: a child that dies, one that is too slow, and one that may take nothing."""
    with Bench(seconds=0.0) as bench:
        assert bench.try_(bombs.scans(2000, 100)).kind == "hang"
    with Bench(memory=64 << 20) as bench:
        outcome = bench.try_(pieces.png([pieces.png_header(11_313, 11_313), (b"IDAT", pieces.zeros(1 << 20)), (b"IEND", b"")]))
        assert outcome.kind == "damaged"
        assert outcome.peak < 64 << 20
