"""Decoding in child processes: the same results as in this process; a crash, a hang or a lack of memory costs one image."""

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
from indexer.domain.images import DecodedImage, DecodeTarget, InputSpec
from indexer.imaging.decode import decode
from indexer.imaging.decode_worker import read_response
from indexer.imaging.decoder_pool import DecoderPool
from tests.support.builders import SPEC, draw_blocks, encoded, write_images
from tests.support.further_formats import svg
from tests.support.library import Library, counts

ROOT = Path(__file__).parents[2]
EXAMPLES = [path for path in sorted((ROOT / "examples/images").rglob("*.*")) if path.suffix != ".md"][::7]
INPUT = InputSpec(64, 127.0, 128.0)
FAULTS = {
    "segfault": "its decoder crashed (SIGSEGV)",
    "hang": "decoding it takes more than 60 seconds",
    "exit": "its decoder ended with code 7",
    "memory": "decoding it needs more memory than is available",
}


def faulty(kind: str, seed: int = 0) -> bytes:
    """Return a good image for which the decoder of tests/support/sitecustomize.py has a fault."""
    return encoded(draw_blocks(seed)) + b"FAULT:" + kind.encode()


@pytest.fixture
def decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderPool]:
    """Decoders with faults, a time limit of a minute and a memory limit of a gigabyte.

    Their clock does not run: a minute passes at the moment at which a decoder hangs.
    """
    late = tmp_path / "late"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/support"))
    monkeypatch.setenv("MOODEX_TEST_MARKER", str(tmp_path / "killed once"))
    monkeypatch.setenv("MOODEX_TEST_LATE", str(late))
    decoders = DecoderPool(memory=1 << 30, clock=lambda: 100.0 if late.exists() else 0.0)
    yield decoders
    decoders.end()


@pytest.mark.parametrize("page", [0, 300])
def test_isolated_decoding_gives_the_same_pixels(page: int) -> None:
    spec = InputSpec(64, 127.0, 128.0, background=200)
    decoders = DecoderPool()
    for path in EXAMPLES:
        data = path.read_bytes()
        local, isolated = decode(data, spec, page), decoders.decode(data, spec, page)
        assert isolated == local and np.array_equal(isolated.pixels, local.pixels)
    decoders.end()


def test_isolated_decoding_gives_the_same_frames() -> None:
    decoders = DecoderPool()
    frames = [draw_blocks(number) for number in range(7)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    cut = encoded(draw_blocks(1, (300, 300)), "JPEG")[:-400]
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    cut_png = encoded(Image.fromarray(noise))[:100_000]
    for data in (animation, cut, cut_png):
        local, isolated = decode(data, SPEC, 300), decoders.decode(data, SPEC, 300)
        assert isolated == local
        assert [np.array_equal(*pair) for pair in zip(frames_of(local), frames_of(isolated), strict=True)] == [True] * len(
            local.frames
        )
    decoders.end()


def frames_of(image: DecodedImage) -> list[np.ndarray]:
    return [frame.pixels for frame in image.frames]


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(draw_blocks(0))[:100], b"\0\0\0\x18ftypheic" + bytes(16)])
def test_isolated_decoding_gives_the_same_errors(decoders: DecoderPool, data: bytes) -> None:
    with pytest.raises(ImageError) as isolated:
        decoders.decode(data, SPEC)
    with pytest.raises(ImageError) as local:
        decode(data, SPEC)
    assert (type(isolated.value), str(isolated.value)) == (type(local.value), str(local.value))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_decoder_fault_fails_its_image_alone(decoders: DecoderPool, kind: str) -> None:
    with pytest.raises(Damaged) as failure:
        decoders.decode(faulty(kind), SPEC)
    assert str(failure.value) == FAULTS[kind]
    assert decoders.decode(encoded(draw_blocks(1)), SPEC) == decode(encoded(draw_blocks(1)), SPEC)


def test_a_decoder_killed_from_outside_costs_nothing(decoders: DecoderPool) -> None:
    data = faulty("killed once")
    assert decoders.decode(data, SPEC) == decode(data, SPEC)


def test_an_image_whose_decoder_is_always_killed_is_retried(library: Library, decoders: DecoderPool) -> None:
    """The system may have run out of memory, and the next run may have more."""
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


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers of processor time")
def test_a_drawing_that_takes_too_long_fails_alone() -> None:
    pytest.importorskip("resvg_py")
    noise = '<filter id="f"><feTurbulence baseFrequency="0.5" numOctaves="1000000"/></filter><rect {} filter="url(#f)"/>'
    endless = svg(noise.format('width="50" height="40"'))
    decoders = DecoderPool(drawing_seconds=0.5)
    with pytest.raises(Damaged, match="^drawing it takes more than 0.5 seconds; save it as PNG$"):
        decoders.decode(endless, SPEC)
    for data in (svg(), encoded(draw_blocks(1))):  # the limit is for one drawing, and for nothing else
        assert decoders.decode(data, SPEC) == decode(data, SPEC)
    decoders.end()


def test_a_suspended_decoder_is_killed(decoders: DecoderPool, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="more than 60 seconds"):
        decoders.decode(faulty("stopped"), SPEC)
    assert decoders.decode(encoded(draw_blocks(1)), SPEC) == decode(encoded(draw_blocks(1)), SPEC)


def response(sides: list[int], frames: int = 1) -> BytesIO:
    """Return the response of a child with frames of these sides."""
    facts = {"digest": "00", "width": 1, "height": 1, "format": "PNG", "incomplete": False}
    header = json.dumps({**facts, "images": [{"frames": list(range(frames)), "sides": sides}]}).encode()
    return BytesIO(struct.pack("<I", len(header)) + header + bytes(300 * 301 * 3))


@pytest.mark.parametrize("frames", [0, 6, 1000])
def test_a_response_with_a_wrong_number_of_frames_is_refused(frames: int) -> None:
    with pytest.raises(EOFError):
        read_response(response([2, 2], frames), [DecodeTarget(INPUT, 300)])


@pytest.mark.parametrize(("sides", "page"), [([64, 63], 0), ([300, 301], 300), ([0, 8], 300), ([-8, -8], 300), ([64, 64], 32)])
def test_a_response_of_the_wrong_size_is_refused(sides: list[int], page: int) -> None:
    with pytest.raises(EOFError):
        read_response(response(sides), [DecodeTarget(INPUT, page)])


@pytest.mark.parametrize(("sides", "page"), [([64, 64], 0), ([300, 1], 300)])
def test_a_response_of_the_right_size_is_accepted(sides: list[int], page: int) -> None:
    (image,) = read_response(response(sides), [DecodeTarget(INPUT, page)])
    assert image.pixels.shape == (*sides, 3)


def test_a_response_with_another_number_of_images_is_refused() -> None:
    with pytest.raises(EOFError):
        read_response(response([64, 64]), [DecodeTarget(INPUT), DecodeTarget(INPUT, 300)])


def test_output_of_a_decoder_is_discarded(decoders: DecoderPool, capfd: pytest.CaptureFixture[str]) -> None:
    data = faulty("babble")
    assert decoders.decode(data, SPEC) == decode(data, SPEC)
    assert capfd.readouterr() == ("", "")


def test_threads_do_not_disturb_each_other(decoders: DecoderPool) -> None:
    files = [encoded(draw_blocks(seed)) if seed % 9 else faulty("segfault", seed) for seed in range(60)]

    def attempt(data: bytes) -> bytes | None:
        try:
            return decoders.decode(data, SPEC).pixels.tobytes()
        except Damaged:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, files))
    assert results == [decode(data, SPEC).pixels.tobytes() if seed % 9 else None for seed, data in enumerate(files)]


def test_signals_to_the_process_group_do_not_end_a_child(decoders: DecoderPool) -> None:
    data = encoded(draw_blocks(1))
    decoders.decode(data, SPEC)
    (child,) = decoders.worker_pids()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, number)
    decoders.decode(data, SPEC)
    assert decoders.worker_pids() == {child}


def test_children_end_with_their_parent() -> None:
    """Children also end with a parent that is killed, so that no process is left to hold memory."""
    script = (
        "import sys; from indexer.imaging.decoder_pool import DecoderPool; from tests.support.builders import *\n"
        "decoders = DecoderPool(); decoders.decode(encoded(draw_blocks(0)), SPEC)\n"
        "print(*decoders.worker_pids(), flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        descriptor = os.pidfd_open(child) if hasattr(os, "pidfd_open") else pytest.skip("needs pidfd")
        parent.kill()
    assert select.select([descriptor], [], [], 600)[0]
    os.close(descriptor)


def test_each_decoder_fault_is_one_failure_row(library: Library, decoders: DecoderPool) -> None:
    write_images(library.folder, 12)
    for kind in FAULTS.keys() - {"hang"}:
        (library.folder / f"{kind}.png").write_bytes(faulty(kind))
    (library.folder / "a duplicate of segfault.png").write_bytes(faulty("segfault"))
    library.decoders = decoders
    assert counts(library.index()) == {"scanned": 16, "indexed": 12, "failed": 4}


def test_an_image_that_hangs_is_one_failure(library: Library, decoders: DecoderPool) -> None:
    (library.folder / "hang.png").write_bytes(faulty("hang"))
    library.decoders = decoders
    assert counts(library.index()) == {"scanned": 1, "failed": 1}
    write_images(library.folder, 12)
    assert counts(library.index())["indexed"] == 12


def test_a_decoder_crash_through_the_command_line(tmp_path: Path, decoders: DecoderPool) -> None:
    """The program indexes three good images although the fourth crashes its decoder."""
    folder = tmp_path / "images"
    write_images(folder, 3)
    (folder / "bad.png").write_bytes(faulty("segfault"))
    moodex = [sys.executable, str(ROOT / "cli.py"), "--home", str(tmp_path / "home")]
    done = subprocess.run([*moodex, "index", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "3 indexed, 1 failed" in done.stdout, (done.stdout, done.stderr)
    status = subprocess.run([*moodex, "status"], capture_output=True, text=True, check=True)
    assert "its decoder crashed (SIGSEGV)" in status.stdout
    Image.open(folder / "bad.png").verify()
