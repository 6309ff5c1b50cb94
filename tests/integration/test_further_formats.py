"""Files of stickers and of programs for drawing in a library: found, passed over, searched, shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from indexer.domain.errors import Damaged
from indexer.imaging import decode_alone as decode_alone_module
from indexer.imaging import further_formats
from indexer.imaging.decode import decode
from indexer.imaging.decode_alone import decode_alone
from indexer.imaging.decoder_pool import DecoderPool
from indexer.imaging.thumbnail import thumbnail
from indexer.ports.sources import LARGE_VIDEO, MAX_VIDEO_BYTES
from tests.support import further_formats as files
from tests.support.builders import SPEC, draw_blocks, encoded, write_images
from tests.support.library import Library, counts

ROOT = Path(__file__).parents[2]
FILES = files.one_of_each()
OF_EXTRAS = {"a.jxl", "b.svg", "c.tgs", "d.lottie", "e.webm", "f.mp4", "g.psd"}


@pytest.fixture
def filled(library: Library) -> Library:
    for name, data in FILES.items():
        (library.folder / name).write_bytes(data)
    return library


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Hide the packages of the extras."""
    return lambda: monkeypatch.setattr(further_formats, "find_spec", lambda _: None)


@pytest.fixture(autouse=True)
def pool() -> Iterator[None]:
    """End the decoders of single images after a test."""
    yield
    if decode_alone_module._pool.cache_info().currsize:
        decode_alone_module._pool().end()
        decode_alone_module._pool.cache_clear()


def test_every_format_is_indexed_found_and_shown(filled: Library) -> None:
    filled.decoders = DecoderPool()
    assert counts(filled.index()) == {"scanned": len(FILES), "indexed": len(FILES)}
    filled.decoders.end()
    filled.decoders = None
    assert filled.paths() == set(FILES)
    assert counts(filled.index()) == {"scanned": len(FILES), "unchanged": len(FILES)}
    for name in FILES:
        path = filled.folder / name
        assert filled.show(path)[0].path == bytes(path)
        assert filled.search(image=bytes(path))[0].path == bytes(path)
        png = thumbnail(bytes(path), None)
        assert png is not None and Image.open(BytesIO(png)).size == (192, 192)


def test_copies_and_the_same_picture_in_another_format_are_recognized(filled: Library) -> None:
    (filled.folder / "copy.svg").write_bytes(FILES["b.svg"])
    (filled.folder / "same.png").write_bytes(encoded(draw_blocks(1)))
    summary = filled.index()
    assert (summary.indexed, summary.reused) == (len(FILES) + 1, 1)
    near = {Path(name).name for name in filled.paths()} - {Path(hit.path.decode()).name for hit in filled.everything(dedupe=True)}
    assert near & {"b.svg", "copy.svg"} and near & {"a.jxl", "same.png"}


def test_without_extras_their_files_are_passed_over_and_with_them_found(
    filled: Library, without_extras: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_extras()
    summary = filled.index()
    assert counts(summary) == {"scanned": 4, "indexed": 4}
    assert dict(summary.skipped) == dict.fromkeys((".jxl", ".svg", ".tgs", ".lottie", ".webm", ".mp4", ".psd"), 1)
    monkeypatch.undo()
    assert counts(filled.index()) == {"scanned": len(FILES), "indexed": len(OF_EXTRAS), "unchanged": 4}
    without_extras()
    assert filled.index().left_out == len(OF_EXTRAS)
    monkeypatch.undo()
    assert counts(filled.index())["scanned"] == len(FILES)
    assert filled.paths() == set(FILES)


def test_without_its_extra_a_named_file_fails_with_advice_and_is_retried(
    filled: Library, without_extras: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_extras()
    path = filled.folder / "b.svg"
    assert counts(filled.index(path)) == {"scanned": 1, "failed": 1}
    with filled.store() as store:
        ((_, failure),) = store.failures(10)
    assert failure.kind == "unsupported" and failure.reason.endswith("pip install 'moodex[svg]'")
    monkeypatch.undo()
    assert counts(filled.index(path)) == {"scanned": 1, "indexed": 1}


def test_large_videos_are_passed_over_unless_they_are_named(library: Library) -> None:
    small, large = library.folder / "small.mp4", library.folder / "large.mp4"
    small.write_bytes(FILES["f.mp4"])
    free_space = MAX_VIDEO_BYTES.to_bytes(4, "big") + b"free"
    large.write_bytes(FILES["f.mp4"] + free_space + bytes(MAX_VIDEO_BYTES - 8))
    summary = library.index()
    assert (summary.scanned, dict(summary.skipped)) == (1, {LARGE_VIDEO: 1})
    assert counts(library.index(large)) == {"scanned": 1, "indexed": 1}
    for _ in range(2):
        assert library.index().left_out == 0
        assert library.paths() == {"small.mp4", "large.mp4"}


def test_a_long_video_is_one_failure_and_costs_one_reading(library: Library) -> None:
    write_images(library.folder, 2)
    still = draw_blocks(1, (16, 16))
    (library.folder / "long.mp4").write_bytes(files.video([still] * 62, "mp4", "libx264", rate=1))
    assert counts(library.index()) == {"scanned": 3, "indexed": 2, "failed": 1}
    with library.store() as store:
        ((_, failure),) = store.failures(10)
    assert (failure.kind, failure.reason[:40]) == ("damaged", "it is a video of more than 60 seconds or")


@pytest.mark.parametrize("name", FILES)
def test_a_single_image_is_decoded_as_in_a_run(name: str) -> None:
    assert decode_alone(FILES[name], SPEC, 300) == decode(FILES[name], SPEC, 300)
    used = decode_alone_module._pool.cache_info().currsize
    assert used == (name in OF_EXTRAS)


def test_a_single_image_that_crashes_its_decoder_is_one_error(tmp_path: Path) -> None:
    """A chain of elements that use each other makes resvg overflow its stack."""
    chain = "".join(f'<g id="a{n}"><use xlink:href="#a{n + 1}"/></g>' for n in range(20_000))
    drawing = files.svg(chain + '<rect id="a20000" width="9" height="9"/>')
    with pytest.raises(Damaged, match=r"its decoder crashed \(SIG|cannot be decoded"):
        decode_alone(drawing, SPEC)
    path = tmp_path / "a.svg"
    path.write_bytes(drawing)
    assert thumbnail(bytes(path), None) is None
    assert decode_alone(files.svg(), SPEC).format == "SVG"


def test_no_package_of_an_extra_is_imported_for_other_images() -> None:
    script = (
        "import sys; from tests.support.builders import *; from indexer.imaging.decode_alone import decode_alone\n"
        "decode_alone(encoded(draw_blocks(1)), SPEC)\n"
        "packages = {'av', 'imagecodecs', 'psd_tools', 'resvg_py', 'rlottie_python', 'indexer.imaging.decoder_pool'}\n"
        "print(*sorted(packages & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_decoders_of_single_images_end_with_the_program() -> None:
    script = (
        "from tests.support.builders import SPEC; from tests.support.further_formats import svg\n"
        "from indexer.imaging.decode_alone import decode_alone, _pool\n"
        "decode_alone(svg(), SPEC); print(*_pool().worker_pids())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not Path(f"/proc/{int(done.stdout)}").exists()
