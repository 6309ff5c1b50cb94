"""Decode mutated images, generated structures and decompression bombs; `make fuzz` runs longer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.imaging.decode import decode
from tests.fuzz import bombs, raw
from tests.fuzz.decoding import Tally, cases
from tests.fuzz.oracle import SPEC
from tests.fuzz.sandbox import MEMORY_LIMIT_BYTES, Sandbox
from tests.fuzz.seeds import seeds
from tests.support.effort import examples

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox limits and measures memory only on Linux")

_SEED, _MUTATED_IMAGES = 0, 800
_MAX_CPU_SECONDS = 10.0
"""Limit for each bomb; most need almost no time."""

_MAX_PEAK_BYTES = 200_000_000
"""Limit for each bomb that is not in `bombs.MAX_PEAK_BYTES`."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_every_seed_is_a_valid_image() -> None:
    for name, data in seeds().items():
        assert decode(data, SPEC).pixels.shape == (SPEC.size, SPEC.size, 3), name


def test_mutated_images_are_decoded_or_refused(sandbox: Sandbox) -> None:
    tally = Tally()
    for name, data in islice(cases(_SEED, seeds()), _MUTATED_IMAGES):
        tally.add(name, sandbox.decode(data))
    assert not tally.violations
    assert len(tally.kinds) >= len({name.split("-")[0] for name in seeds()})
    assert tally.largest[0] < MEMORY_LIMIT_BYTES


def test_the_same_seed_gives_the_same_images() -> None:
    corpus = seeds()
    assert list(islice(cases(7, corpus), 50)) == list(islice(cases(7, corpus), 50))


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
def test_a_tiff_with_any_tags_is_decoded_or_refused(
    sandbox: Sandbox, pages: list[list[raw.Entry]], data: bytes, loops: bool
) -> None:
    complete_pages = [[*raw.gray_page(8, 8), *page] for page in pages]
    for variant in (pages, complete_pages):
        assert not sandbox.decode(raw.tiff(variant, data.ljust(64, b"\0"), loops)).violation


_CHUNKS = st.tuples(
    st.sampled_from([b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"xyzw"]),
    st.binary(max_size=40) | st.binary(max_size=40).map(lambda body: b"name\0\0" + raw.deflated(body)),
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
def test_a_png_with_any_chunks_is_decoded_or_refused(
    sandbox: Sandbox,
    width: int,
    height: int,
    depth: int,
    color: int,
    interlaced: int,
    chunks: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    for sides in ((width, height), (8, 8)):
        header = raw.png_header(*sides, depth, color, interlaced)
        data = raw.png([header, *chunks, (b"IDAT", raw.deflated(body)), *chunks, (b"IEND", b"")])
        assert not sandbox.decode(data).violation


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 64),
    st.integers(0, 15),
    st.binary(max_size=80),
)
@examples(150)
def test_a_bitmap_with_any_header_is_decoded_or_refused(
    sandbox: Sandbox, width: int, height: int, bits: int, compression: int, body: bytes
) -> None:
    for sides in ((width, height), (8, 8)):
        assert not sandbox.decode(raw.bmp(*sides, bits, compression, body, 16)).violation


@pytest.mark.parametrize("name", bombs.bombs())
def test_a_decompression_bomb_stays_within_its_limits(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.decode(bombs.bombs()[name]())
    assert not outcome.violation
    assert outcome.seconds < _MAX_CPU_SECONDS
    assert outcome.peak_bytes < bombs.MAX_PEAK_BYTES.get(name, _MAX_PEAK_BYTES)


def test_an_image_with_100_000_frames_is_decoded(sandbox: Sandbox) -> None:
    for name in ("png-frames", "gif-frames", "webp-frames"):
        assert sandbox.decode(bombs.bombs()[name]()).kind == "decoded", name


def test_100_scans_are_decoded_within_the_time_limit(sandbox: Sandbox) -> None:
    outcome = sandbox.decode(bombs.scans(2000, 100))
    assert (outcome.kind, outcome.violation) == ("decoded", "")
    assert outcome.seconds < _MAX_CPU_SECONDS


def test_the_sandbox_distinguishes_a_hang_from_too_little_memory() -> None:
    with Sandbox(seconds=0.0) as sandbox:
        assert sandbox.decode(bombs.scans(2000, 100)).kind == "hang"
    with Sandbox(memory_bytes=64 << 20) as sandbox:
        outcome = sandbox.decode(raw.png([raw.png_header(11_313, 11_313), (b"IDAT", raw.zeros(1 << 20)), (b"IEND", b"")]))
        assert outcome.kind == "damaged"
        assert outcome.peak_bytes < 64 << 20
