"""Decoding in child processes: the same pictures as without; what crashes, hangs or eats memory costs one failure row."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.domain.errors import Damaged, ImageError
from indexer.domain.images import InputSpec
from indexer.imaging.decode import decode
from indexer.imaging.decode_worker import answer
from indexer.imaging.decoder_pool import DecoderPool
from tests.support.builders import SPEC, encoded, picture, write_pictures
from tests.support.library import Library, counts

ROOT = Path(__file__).parents[2]
EXAMPLES = [path for path in sorted((ROOT / "examples/images").rglob("*.*")) if path.suffix != ".md"][::7]
FAULTS = {
    "segfault": "its decoder crashed (SIGSEGV)",
    "hang": "decoding it takes more than 60 seconds",
    "exit": "its decoder ended with code 7",
    "memory": "decoding it needs more memory than there is",
}


def faulty(kind: str, seed: int = 0) -> bytes:
    """A good picture, at which the decoder of tests/support/sitecustomize.py does what is asked."""
    return encoded(picture(seed)) + b"FAULT:" + kind.encode()


@pytest.fixture
def decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderPool]:
    """Decoders with faults, a minute and a gigabyte. The minute is over as soon as a decoder hangs, and never before."""
    late = tmp_path / "late"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/support"))
    monkeypatch.setenv("MOODEX_TEST_TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("MOODEX_TEST_LATE", str(late))
    decoders = DecoderPool(memory=1 << 30, clock=lambda: 100.0 if late.exists() else 0.0)
    yield decoders
    decoders.end()


@pytest.mark.parametrize("page", [0, 300])
def test_pictures_are_the_same_as_without(page: int) -> None:
    spec = InputSpec(64, 127.0, 128.0, background=200)
    decoders = DecoderPool()
    for path in EXAMPLES:
        data = path.read_bytes()
        here, there = decode(data, spec, page), decoders.decode(data, spec, page)
        assert there == here and np.array_equal(there.pixels, here.pixels)
    decoders.end()


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(picture(0))[:100], b"\0\0\0\x18ftypheic" + bytes(16)])
def test_what_is_no_picture_fails_as_it_would_without(decoders: DecoderPool, data: bytes) -> None:
    with pytest.raises(ImageError) as there:
        decoders.decode(data, SPEC)
    with pytest.raises(ImageError) as here:
        decode(data, SPEC)
    assert (type(there.value), str(there.value)) == (type(here.value), str(here.value))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_a_decoder_fails_its_picture_alone(decoders: DecoderPool, kind: str) -> None:
    with pytest.raises(Damaged) as failure:
        decoders.decode(faulty(kind), SPEC)
    assert str(failure.value) == FAULTS[kind]
    assert decoders.decode(encoded(picture(1)), SPEC) == decode(encoded(picture(1)), SPEC)


def test_a_decoder_killed_from_outside_costs_nothing(decoders: DecoderPool) -> None:
    data = faulty("killed once")
    assert decoders.decode(data, SPEC) == decode(data, SPEC)


def test_a_decoder_that_is_always_killed_is_worth_another_try(library: Library, decoders: DecoderPool) -> None:
    """Perhaps memory ran out: the next run may have more."""
    path = library.folder / "a.png"
    path.write_bytes(faulty("killed always"))
    library.decoders = decoders
    for _ in range(2):
        assert counts(library.index()) == {"scanned": 1, "failed": 1}
        with library.store() as store:
            ((_, failure),) = store.failures(10)
        assert failure.kind == "unreadable" and "killed twice" in failure.reason
    library.decoders = None
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}


def test_a_decoder_that_is_stopped_is_ended(decoders: DecoderPool, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="more than 60 seconds"):
        decoders.decode(faulty("stopped"), SPEC)
    assert decoders.decode(encoded(picture(1)), SPEC) == decode(encoded(picture(1)), SPEC)


def told(sides: list[int]) -> BytesIO:
    """What a child says that answers with pixels of these sides."""
    head = json.dumps({"digest": "00", "width": 1, "height": 1, "format": "PNG", "sides": sides}).encode()
    return BytesIO(struct.pack("<I", len(head)) + head + bytes(300 * 301 * 3))


@pytest.mark.parametrize(("sides", "page"), [([64, 63], 0), ([300, 301], 300), ([0, 8], 300), ([-8, -8], 300), ([64, 64], 32)])
def test_an_answer_of_other_sides_than_were_asked_for_is_none(sides: list[int], page: int) -> None:
    with pytest.raises(EOFError):
        answer(told(sides), InputSpec(64, 127.0, 128.0), page)


@pytest.mark.parametrize(("sides", "page"), [([64, 64], 0), ([300, 1], 300)])
def test_an_answer_has_the_models_sides_or_those_of_a_page(sides: list[int], page: int) -> None:
    assert answer(told(sides), InputSpec(64, 127.0, 128.0), page).pixels.shape == (*sides, 3)


def test_what_a_decoder_prints_is_no_answer(decoders: DecoderPool, capfd: pytest.CaptureFixture[str]) -> None:
    data = faulty("babble")
    assert decoders.decode(data, SPEC) == decode(data, SPEC)
    assert capfd.readouterr() == ("", "")


def test_threads_do_not_meet(decoders: DecoderPool) -> None:
    pictures = [encoded(picture(seed)) if seed % 9 else faulty("segfault", seed) for seed in range(60)]

    def attempt(data: bytes) -> bytes | None:
        try:
            return decoders.decode(data, SPEC).pixels.tobytes()
        except Damaged:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attempt, pictures))
    assert found == [decode(data, SPEC).pixels.tobytes() if seed % 9 else None for seed, data in enumerate(pictures)]


def test_signals_to_the_whole_group_do_not_end_a_child(decoders: DecoderPool) -> None:
    data = encoded(picture(1))
    decoders.decode(data, SPEC)
    (child,) = decoders.worker_pids()
    for told in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, told)
    decoders.decode(data, SPEC)
    assert decoders.worker_pids() == {child}


def test_children_end_with_their_parent() -> None:
    """Even with one that is killed: nothing is left to hold memory."""
    script = (
        "import sys; from indexer.imaging.decoder_pool import DecoderPool; from tests.support.builders import *\n"
        "decoders = DecoderPool(); decoders.decode(encoded(picture(0)), SPEC)\n"
        "print(*decoders.worker_pids(), flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child) if hasattr(os, "pidfd_open") else pytest.skip("needs pidfd")
        parent.kill()
    assert select.select([watched], [], [], 600)[0]
    os.close(watched)


def test_one_failure_row_each(library: Library, decoders: DecoderPool) -> None:
    write_pictures(library.folder, 12)
    for kind in FAULTS.keys() - {"hang"}:
        (library.folder / f"{kind}.png").write_bytes(faulty(kind))
    (library.folder / "a twin of segfault.png").write_bytes(faulty("segfault"))
    library.decoders = decoders
    assert counts(library.index()) == {"scanned": 16, "indexed": 12, "failed": 4}


def test_an_image_that_hangs_is_one_failure(library: Library, decoders: DecoderPool) -> None:
    (library.folder / "hang.png").write_bytes(faulty("hang"))
    library.decoders = decoders
    assert counts(library.index()) == {"scanned": 1, "failed": 1}
    write_pictures(library.folder, 12)
    assert counts(library.index())["indexed"] == 12


def test_through_the_command_line(tmp_path: Path, decoders: DecoderPool) -> None:
    """All of it in the real program: three good pictures are indexed whatever the fourth does to its decoder."""
    folder = tmp_path / "pictures"
    write_pictures(folder, 3)
    (folder / "bad.png").write_bytes(faulty("segfault"))
    moodex = [sys.executable, str(ROOT / "cli.py"), "--home", str(tmp_path / "home")]
    done = subprocess.run([*moodex, "index", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "3 indexed, 1 failed" in done.stdout, (done.stdout, done.stderr)
    told = subprocess.run([*moodex, "status"], capture_output=True, text=True, check=True)
    assert "its decoder crashed (SIGSEGV)" in told.stdout
    Image.open(folder / "bad.png").verify()
