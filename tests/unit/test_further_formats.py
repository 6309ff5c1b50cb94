"""The formats of stickers and of programs for drawing: each is read, and hostile files are refused."""

from __future__ import annotations

import gzip
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageChops

from indexer.domain.errors import Unsupported
from indexer.imaging import further_formats
from indexer.imaging.decode import decode
from indexer.ports.sources import EXTENSIONS
from tests.support import further_formats as files
from tests.support.builders import SPEC, draw_blocks, encoded
from tests.support.further_formats import COLOR, center, solid, words

FRAMES = [draw_blocks(seed) for seed in range(12)]


@pytest.mark.parametrize(
    ("data", "form", "size"),
    [
        (files.jxl(solid()), "JXL", (50, 40)),
        (files.jxl(solid("RGBA")), "JXL", (50, 40)),
        (files.svg(), "SVG", (768, 615)),
        (gzip.compress(files.svg(), mtime=0), "SVG", (768, 615)),
        (b"<?xml version='1.0' encoding='utf-8'?><!-- x -->" + files.svg(), "SVG", (768, 615)),
        (files.psd(solid()), "PSD", (50, 40)),
        (files.psd(solid("RGBA")), "PSD", (50, 40)),
        (files.psd(ImageChops.invert(solid("CMYK"))), "PSD", (50, 40)),
        (files.layered(solid()), "ORA", (50, 40)),
        (files.layered(solid("RGBA"), "application/x-krita"), "KRA", (50, 40)),
        (encoded(solid(), "JPEG2000"), "JPEG2000", (50, 40)),
        (encoded(solid("RGBA"), "JPEG2000"), "JPEG2000", (50, 40)),
        (encoded(solid(), "JPEG2000", no_jp2=True), "JPEG2000", (50, 40)),
        (encoded(solid(size=(48, 48)), "ICO", sizes=[(16, 16), (48, 48), (32, 32)]), "ICO", (48, 48)),
        (files.video([solid()] * 3, crf="4"), "VIDEO", (50, 40)),
        (files.video([solid("RGBA")] * 3, crf="4"), "VIDEO", (50, 40)),
        (files.video([solid()] * 3, "mp4", "libx264", crf="4"), "VIDEO", (50, 40)),
    ],
    ids=words,
)
def test_an_image_is_read(data: bytes, form: str, size: tuple[int, int]) -> None:
    image = decode(data, SPEC)
    assert (image.format, image.width, image.height, image.incomplete) == (form, *size, False)
    assert np.abs(np.subtract(center(image), COLOR)).max() <= 8


@pytest.mark.parametrize("data", [files.lottie(), files.tgs(), files.dotlottie()], ids=["json", "tgs", "dotlottie"])
def test_up_to_five_frames_of_an_animation_are_read(data: bytes) -> None:
    image = decode(data, SPEC)
    assert (image.format, image.width, image.height) == ("LOTTIE", 512, 410)
    assert [frame.number for frame in image.frames] == [1, 16, 31, 45, 60]
    first, last = image.frames[0].pixels, image.frames[-1].pixels
    assert (last != 255).any(axis=2).sum() > 1.5 * (first != 255).any(axis=2).sum()  # the circle grows


def test_an_animation_states_its_size_freely() -> None:
    small, large = (decode(files.lottie(w=width, h=height), SPEC) for width, height in ((10, 20), (50_000, 100_000)))
    assert (small.width, small.height) == (large.width, large.height) == (256, 512)


LARGER_FRAMES = [frame.resize((96, 80)) for frame in FRAMES]


@pytest.mark.parametrize(
    "data",
    [
        files.video(LARGER_FRAMES),
        files.video(LARGER_FRAMES, "webm", "libvpx"),
        files.video(LARGER_FRAMES, "mp4", "libx264"),
        files.av1(),
        files.hevc(),
    ],
    ids=["vp9", "vp8", "h264", "av1", "hevc"],
)
def test_up_to_five_frames_of_a_video_are_read(data: bytes) -> None:
    image = decode(data, SPEC)
    assert [frame.number for frame in image.frames] == [1, 4, 7, 9, 12]
    for frame in image.frames:
        shown = np.asarray(FRAMES[frame.number - 1 if frame.number else 0].resize((32, 27))).astype(int)
        assert np.abs(frame.pixels[2:29] - shown).mean() < 40


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="only Linux has these priorities")
def test_the_videos_of_these_tests_leave_the_priority_of_the_process() -> None:
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_transparent_video_is_composed_on_white() -> None:
    frame = solid("RGBA")
    frame.paste((0, 0, 0, 0), (0, 0, 50, 20))
    image = decode(files.video([frame] * 3, crf="4"), SPEC)
    assert image.pixels[8, 16].min() > 240
    assert np.abs(image.pixels[24, 16].astype(int) - COLOR).max() <= 12


def test_a_turned_video_is_turned_upright(tmp_path: Path) -> None:
    import av

    frame = solid()
    frame.paste((0, 0, 255), (0, 0, 25, 40))
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 50, 40, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode())
    image = decode(file.getvalue(), SPEC)
    assert (image.width, image.height) == (40, 50)
    upper, lower = image.pixels[4, 16], image.pixels[27, 16]
    assert lower[2] > 200 > upper[2] and upper[0] > 150 > lower[0]


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint8, 200), (np.uint16, 200 * 257), (np.float32, 200 / 255)], ids=["uint8", "uint16", "float32"]
)
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_a_jpeg_xl_of_any_depth_is_read(dtype: type, value: float, channels: tuple[int, ...]) -> None:
    import imagecodecs

    pixels = np.full((20, 30, *channels), value, dtype=dtype)
    if channels in {(2,), (4,)}:
        pixels[..., -1] = {np.uint8: 255, np.uint16: 65_535, np.float32: 1}[dtype]
    image = decode(bytes(imagecodecs.jpegxl_encode(pixels, lossless=True)), SPEC)
    assert (image.width, image.height) == (30, 20)
    assert np.abs(np.subtract(center(image), (200, 200, 200))).max() <= 1


def test_the_first_frame_of_a_moving_jpeg_xl_is_read() -> None:
    import imagecodecs

    frames = np.stack([np.asarray(frame) for frame in FRAMES])
    data = bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    assert (decode(data, SPEC).pixels == decode(encoded(FRAMES[0]), SPEC).pixels).all()


@pytest.mark.parametrize("depth", [8, 16, 32])
def test_a_photoshop_file_of_any_depth_is_read(depth: int) -> None:
    gray = {8: np.uint8(90), 16: np.uint16(90 * 257), 32: np.float32(90 / 255)}[depth]
    image = decode(files.raw_psd(np.full((20, 30), gray)), SPEC)
    assert (image.width, image.height) == (30, 20)
    if depth < 32:  # the light of 32-bit images is linear
        assert center(image) == (90, 90, 90)


@pytest.mark.parametrize(
    ("reader", "data", "extra"),
    [
        ("jxl", files.jxl(solid()), "jxl"),
        ("svg", files.svg(), "svg"),
        ("svg", gzip.compress(files.svg(), mtime=0), "svg"),
        ("lottie", files.tgs(), "lottie"),
        ("lottie", files.dotlottie(), "lottie"),
        ("video", files.video([solid()]), "video"),
        ("video", files.video([solid()], "mp4", "libx264"), "video"),
        ("psd", files.psd(solid()), "psd"),
    ],
)
def test_without_its_extra_a_format_names_it(monkeypatch: pytest.MonkeyPatch, reader: str, data: bytes, extra: str) -> None:
    module = further_formats._PACKAGES[reader]
    found = further_formats.find_spec
    monkeypatch.setattr(further_formats, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(Unsupported, match=rf"which needs an extra decoder: pip install 'moodex\[{extra}\]'$"):
        decode(data, SPEC)
    missing = further_formats.readable_extensions()
    assert missing > EXTENSIONS
    monkeypatch.undo()
    assert missing < further_formats.readable_extensions()
