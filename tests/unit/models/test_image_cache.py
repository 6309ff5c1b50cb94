"""The image cache: rows are read by index from a temporary file, and a full disk is one sentence."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.errors import MoodexError
from indexer.domain.images import InputSpec
from indexer.domain.training import WHOLE_IMAGES
from models.training import dataset, image_cache
from models.training.dataset import load_images
from models.training.dataset_readers import Source, SourceImage
from models.training.image_cache import ImageRows, nearest_folder, write_cache

SPEC = InputSpec(32, 0, 255)


def images(count: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def source_images(count: int) -> list[SourceImage]:
    source = Source("set", Path("set"), "artist")
    emotions = ("happy", "sad")
    return [SourceImage(Path(f"{n}.png"), emotions[n % 2], emotions[n % 2], source, digest=str(n)) for n in range(count)]


def test_the_cache_holds_what_was_written(tmp_path: Path) -> None:
    expected = images(10)
    cached = write_cache((expected[start : start + 3] for start in range(0, 10, 3)), (4, 4, 3), np.uint8, tmp_path)
    assert cached.shape == expected.shape and np.array_equal(cached, expected)
    assert not cached.flags.writeable
    assert write_cache(iter(()), (4, 4, 3), np.uint8, tmp_path).shape == (0, 4, 4, 3)


def test_the_cache_leaves_no_file_behind(tmp_path: Path) -> None:
    cached = write_cache(iter(images(3)), (4, 4, 3), np.uint8, tmp_path / "not" / "there")
    assert cached.sum() and not list(tmp_path.iterdir())

    def failing() -> Iterator[np.ndarray]:
        yield images(1)
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write_cache(failing(), (4, 4, 3), np.uint8, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_are_read_by_index_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images(9)
    rows = ImageRows(pixels).take([8, 0, 3, 3, 5, 1, 2])
    assert len(rows) == 7 and rows.shape == (7, 4, 4, 3) and rows.dtype == np.uint8
    assert np.array_equal(rows[1:4], pixels[[0, 3, 3]]) and np.array_equal(rows[np.array([6, 0])], pixels[[2, 8]])
    assert np.array_equal(rows.take([2, 0])[:], pixels[[3, 8]]) and len(rows.take([])) == 0
    monkeypatch.setattr(image_cache, "_CHUNK_BYTES", 3 * 48)
    assert [len(chunk) for chunk in rows.chunks()] == [3, 3, 1]
    assert [len(chunk) for chunk in rows.chunks(2)] == [2, 2, 2, 1]
    assert [len(chunk) for chunk in rows.chunks(5)] == [5, 2]
    assert np.array_equal(np.concatenate(list(rows.chunks())), rows[:])


def test_selecting_rows_copies_no_pixels(tmp_path: Path) -> None:
    cached = write_cache(iter(images(6)), (4, 4, 3), np.uint8, tmp_path)
    rows = ImageRows(cached)
    selected = rows.take([1, 2]).take([0])
    assert selected._images is cached
    copied = selected[:]
    copied[:] = 0
    assert cached[1].any()


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setattr(image_cache, "TemporaryFile", lambda **_: full.open("r+b", buffering=0))
    with pytest.raises(MoodexError, match=r"disk is full after 0\.0 GB\. Make room, or choose another folder\."):
        write_cache(iter(images(3)), (4, 4, 3), np.uint8, tmp_path)
    with pytest.raises(MoodexError, match="Make room, or set TMPDIR to another folder"):
        write_cache(iter(images(3)), (4, 4, 3), np.uint8)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_cache, "TemporaryFile", refuse)
    with pytest.raises(MoodexError, match=f"The image cache in {tmp_path} cannot be written: Permission denied"):
        load_images(source_images(4), SPEC, lambda _path, _spec: images(1, 32)[0], cache_folder=tmp_path)


def test_the_nearest_folder_exists(tmp_path: Path) -> None:
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path == nearest_folder(tmp_path)
    (tmp_path / "file").touch()
    assert nearest_folder(tmp_path / "file") == tmp_path
    assert nearest_folder(Path(tempfile.gettempdir())).is_dir()


class FunctionDecoder:
    """Implements `indexer.ports.analyzer.InputDecoder` with a function."""

    faces = WHOLE_IMAGES

    def __init__(self, decode: Callable[[Path, InputSpec], np.ndarray]) -> None:
        self.decode = decode


def test_few_images_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the writer takes no images, decoders stop after a bounded number."""
    workers, decoded, lock = 2, 0, threading.Lock()

    def decode(_path: Path, _spec: InputSpec) -> np.ndarray:
        nonlocal decoded
        with lock:
            decoded += 1
        return images(1, 32)[0]

    outcomes = dataset._decode_in_order(source_images(100), SPEC, FunctionDecoder(decode), workers)
    for taken in range(1, 101):
        next(outcomes)
        assert decoded <= taken + dataset._DECODED_AHEAD * workers
    assert next(outcomes, None) is None and decoded == 100


def test_images_keep_their_order_and_lose_unreadable_ones(tmp_path: Path) -> None:
    def decode(path: Path, _spec: InputSpec) -> np.ndarray:
        number = int(path.stem)
        if number % 5 == 3:
            raise FileNotFoundError(2, "No such file or directory")
        return np.full((32, 32, 3), number, dtype=np.uint8)

    loaded = load_images(source_images(20), SPEC, FunctionDecoder(decode), workers=3, cache_folder=tmp_path)
    readable = [number for number in range(20) if number % 5 != 3]
    assert loaded.pixels[:][:, 0, 0, 0].tolist() == readable
    assert [int(file.path.stem) for file in loaded.files] == readable
    assert [(path.stem, reason) for path, reason in loaded.unreadable] == [
        (str(number), "No such file or directory") for number in (3, 8, 13, 18)
    ]
