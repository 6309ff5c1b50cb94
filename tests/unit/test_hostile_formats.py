"""Hostile and damaged files in the formats of stickers and of programs for drawing: each is one error."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.domain.errors import Damaged, ImageError
from indexer.imaging import limits
from indexer.imaging.decode import decode
from indexer.imaging.readers import inflate, layered, lottie, video
from tests.support import further_formats as files
from tests.support.builders import SPEC, draw_blocks, encoded
from tests.support.further_formats import COLOR, center, solid, words

FRAMES = [draw_blocks(seed) for seed in range(12)]


def refused(data: bytes, reason: str | None = None) -> None:
    with pytest.raises(Damaged, match=reason):
        decode(data, SPEC)


# --- vector drawings


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (50, 40), (255, 0, 0)).save(path)
    return path


@pytest.mark.parametrize("reference", ["{path}", "red.png", "file://{path}", "./red.png", "\n{path}", "http://localhost/red.png"])
@pytest.mark.parametrize(
    "content",
    [
        '<image xlink:href="{reference}" width="50" height="40"/>',
        '<image href="{reference}" width="50" height="40"/>',
        '<filter id="f"><feImage xlink:href="{reference}"/></filter><rect width="50" height="40" filter="url(#f)"/>',
        '<image xmlns:x="http://www.w3.org/1999/xlink" x:href="{reference}" width="50" height="40"/>',
        '<style>rect {{fill: url("{reference}") #fff}}</style><rect width="50" height="40"/>',
    ],
)
def test_a_drawing_shows_no_other_file(monkeypatch: pytest.MonkeyPatch, red: Path, content: str, reference: str) -> None:
    monkeypatch.chdir(red.parent)
    drawing = files.svg(content.format(reference=reference.format(path=red)))
    assert not (decode(drawing, SPEC).pixels == (255, 0, 0)).all(axis=2).any()


def test_a_drawing_shows_images_inside_of_it() -> None:
    from base64 import b64encode

    for kind, data in (("png", encoded(solid())), ("jpeg", encoded(solid(), "JPEG"))):
        image = f'<image xlink:href="data:image/{kind};base64,{b64encode(data).decode()}" width="50" height="40"/>'
        assert np.abs(np.subtract(center(decode(files.svg(image), SPEC)), COLOR)).max() <= 2


def test_a_drawing_inside_of_a_drawing_is_not_shown(red: Path) -> None:
    from base64 import b64encode

    inner = b64encode(files.svg()).decode()
    image = f'<image xlink:href="data:image/svg+xml;base64,{inner}" width="50" height="40"/>'
    assert (decode(files.svg(image), SPEC).pixels == 255).all()


def test_a_drawing_may_use_its_own_elements_and_entities() -> None:
    content = '<defs><rect id="r" width="50" height="40" fill="&color;"/></defs><use xlink:href="#r"/>'
    declared = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost/svg11.dtd" [<!ENTITY color "#c81e5a">]>'
    assert center(decode(b"<?xml version='1.0'?>" + declared + files.svg(content), SPEC)) == COLOR


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        (b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + files.svg("<text>&x;</text>"), "undefined entity"),
        (
            b"<!DOCTYPE svg [<!ENTITY a0 'haha'>"
            + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
            + b"]>"
            + files.svg("<text>&a9;</text>"),
            "limit on input amplification factor",
        ),
        (files.svg("<g>" * 101 + "</g>" * 101), "more than 100 levels deep"),
        (files.svg("<g>" * 200_000 + "</g>" * 200_000), "more than 100 levels deep"),
        (
            files.svg(
                '<g id="a0"><rect width="9" height="9"/></g>'
                + "".join(f'<g id="a{n}">' + f'<use xlink:href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 10))
            ),
            "nodes limit reached",
        ),
        (b"<svg", "it is cut off"),
        (files.svg()[:-9], "it is cut off"),
        (b"<svg>", r"it is a vector drawing \(SVG\) and cannot be decoded"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='0' height='0'/>", "invalid size"),
        (b"<svg viewBox='0 0 1 1'/>", "namespace of SVG"),
        (files.svg('<circle r="1e9"/>'), "resvg cannot draw it"),
        (gzip.compress(files.svg(), mtime=0)[:-20], "ends too early"),
    ],
    ids=words,
)
def test_a_hostile_drawing_is_refused(drawing: bytes, reason: str) -> None:
    refused(drawing, reason)


def test_a_drawing_runs_no_script_and_draws_no_text() -> None:
    content = '<rect width="50" height="40" fill="#c81e5a"/><script>while (true) {}</script><text y="30">text</text>'
    assert (decode(files.svg(content), SPEC).pixels == decode(files.svg(), SPEC).pixels).all()


@pytest.mark.parametrize(("width", "height", "size"), [(10**9, 10**9, (768, 768)), (10**9, 1, (768, 1)), (1, 10**9, (1, 768))])
def test_a_drawing_of_any_size_is_drawn_at_one_size(width: int, height: int, size: tuple[int, int]) -> None:
    drawing = files.svg(f'<rect width="{width}" height="{height}"/>', width, height)
    image = decode(drawing.replace(b"<svg", b'<svg width="%d" height="%d"' % (width, height)), SPEC)
    assert (image.width, image.height) == size


@pytest.mark.parametrize("data", [files.svg(), files.lottie()], ids=["svg", "lottie"])
def test_text_that_inflates_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(inflate, "MAX_TEXT_BYTES", 1 << 20)
    refused(gzip.compress(data.rstrip(b"}") + b" " * (1 << 20) + b"}" * data.endswith(b"}")), "exceeds the limit of 1 MiB")


# --- animations


def test_an_animation_names_no_file_to_rlottie(monkeypatch: pytest.MonkeyPatch, red: Path) -> None:
    assets = [{"id": "i", "w": 9, "h": 9, "u": f"{red.parent}/", "p": red.name}, {"id": "j", "p": "data:image/png;base64,AA=="}]
    passed: list[str] = []
    draw = lottie.LottieAnimation.from_data
    monkeypatch.setattr(lottie.LottieAnimation, "from_data", lambda text: passed.append(text) or draw(text))
    decode(files.lottie(assets=assets), SPEC)
    assert str(red.parent) not in passed[0] and red.name not in passed[0] and "data:image/png" in passed[0]


def test_an_animation_of_10_000_frames_is_read() -> None:
    image = decode(files.lottie(op=10_000), SPEC)
    assert all(frame.number is not None and frame.number <= 1000 for frame in image.frames)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (files.lottie(w=0), "it states no possible size"),
        (files.lottie(w=-5), "it states no possible size"),
        (files.lottie(h=1e30), "it states no possible size"),
        (files.lottie(w="100"), "it states no possible size"),
        (files.lottie(op=0), "it has no frame"),
        (files.lottie()[:-5], "Lottie"),
        (files.tgs()[:-5], "ends too early"),
        (files.tgs()[:60], "it is cut off"),
        (b"[" + files.lottie() + b"]", "it is not an animation"),
        (files.zipped(**{"manifest.json": b"{}", "animations/a.png": b""}), "an archive without an animation"),
        (b'{"fr":1,"op":2,"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be decoded"),
    ],
    ids=words,
)
def test_a_damaged_animation_is_refused(data: bytes, reason: str) -> None:
    refused(data, reason)


# --- videos


def test_a_long_video_is_refused_and_a_short_one_with_few_frames_is_not() -> None:
    frames = [solid()] * 3
    assert decode(files.video(frames, rate=1), SPEC).width == 50
    long = files.video([solid(size=(16, 16))] * 62, "mp4", "libx264", rate=1)
    refused(long, "a video of more than 60 seconds or 7,200 frames; save its frames as images")


def test_a_video_with_too_many_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_MAX_PACKETS", 10)
    refused(files.video([solid(size=(16, 16))] * 11, rate=1000), "or 10 frames")


def test_a_video_of_another_codec_is_refused() -> None:
    refused(files.video([solid()] * 3, "mp4", "mpeg4"), "a codec that moodex does not decode")


def test_a_sound_is_not_a_video() -> None:
    import av

    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    refused(file.getvalue(), "it has no video")


def test_a_video_without_its_end_shows_what_there_is() -> None:
    data = files.video([draw_blocks(seed, (160, 120)) for seed in range(12)])
    image = decode(data[: len(data) // 2], SPEC)
    assert image.width == 160 and len(image.frames) >= 2
    refused(files.video(FRAMES, "mp4", "libx264")[:-900], "FFmpeg cannot read it: Invalid data found")


def test_a_video_of_too_many_pixels_is_refused_before_and_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = files.video([solid()] * 3)
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    refused(data, "FFmpeg cannot read it")
    monkeypatch.setattr(limits, "MAX_PIXELS", 1000)
    refused(data, "its size of 50 x 40 pixels exceeds the limit")


# --- files of programs for drawing, icons, JPEG 2000


def test_a_photoshop_file_without_a_merged_image_says_how_to_save_it() -> None:
    data = files.psd(solid())
    resource = data.index(b"8BIM\x04\x21")
    merged = resource + 12 + 4  # after the head of the resource and its version
    assert data[merged] == 1
    refused(data[:merged] + b"\0" + data[merged + 1 :], "it has no merged image; save it with maximized compatibility")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "it lacks its end"),
        (lambda data: data[:14] + struct.pack(">II", 300_000, 300_000) + data[22:], "exceeds the limit of 128 million pixels"),
        (lambda data: data[:14] + struct.pack(">II", 1, 300_000) + data[22:], "a side of 300000 pixels exceeds"),
        (lambda data: data[:30], r"it is a Photoshop file \(PSD\) and cannot be decoded"),
        (lambda data: data[:12] + b"\0\0" + data[14:], "cannot be decoded"),
    ],
)
def test_a_damaged_photoshop_file_is_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    refused(change(files.psd(draw_blocks(1))), reason)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"preview.png": b"x"}, r"it has no merged image \(mergedimage.png\); save it as PNG"),
        ({"mergedimage.png": b"x" * 2000}, "exceeds the limit"),
        ({"mergedimage.png": b"x"}, "its merged image is damaged"),
        ({"mergedimage.png": b"\x89PNG\r\n\x1a\nxx"}, "its merged image is damaged"),
    ],
)
def test_an_archive_without_a_good_merged_image_is_refused(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], reason: str
) -> None:
    monkeypatch.setattr(layered, "_MAX_MERGED_BYTES", 1000)
    refused(files.zipped(mimetype=b"image/openraster", **members), reason)


def test_an_archive_that_lies_about_the_size_of_its_member_is_refused() -> None:
    data = files.layered(draw_blocks(1))
    size = len(encoded(draw_blocks(1)))
    lie = data.replace(struct.pack("<I", size) + struct.pack("<HH", 15, 0), struct.pack("<I", 10) + struct.pack("<HH", 15, 0))
    assert lie != data
    refused(lie, "its archive is damaged or encrypted")


def icon(*frames: tuple[tuple[int, int], bytes]) -> bytes:
    offset = 6 + 16 * len(frames)
    directory, bodies = b"", b""
    for (width, height), data in frames:
        directory += struct.pack("<BBBBHHII", width % 256, height % 256, 0, 0, 1, 32, len(data), offset + len(bodies))
        bodies += data
    return struct.pack("<HHH", 0, 1, len(frames)) + directory + bodies


def test_an_icon_with_a_wrong_directory_is_read_or_refused() -> None:
    png = encoded(solid())
    assert decode(icon(((16, 16), png)), SPEC).width == 50
    refused(icon(((16, 16), png[:-30])))
    refused(icon(((16, 16), b"")))
    refused(struct.pack("<HHH", 0, 1, 65_535), "damaged icon")
    from tests.fuzz import raw

    bomb = raw.png([raw.png_header(20_000, 20_000), (b"IDAT", raw.zeros(1000)), (b"IEND", b"")])
    refused(icon(((256, 256), bomb)), "exceeds the limit of 128 million pixels")


def test_a_cursor_is_read() -> None:
    bitmap = encoded(solid(size=(32, 32)), "BMP")[14:]
    bitmap = bitmap[:8] + struct.pack("<i", 64) + bitmap[12:] + bytes(32 * 4)
    data = icon(((32, 32), bitmap))
    assert center(decode(b"\0\0\2" + data[3:], SPEC)) == COLOR


def test_a_jpeg_2000_that_claims_a_huge_size_is_refused() -> None:
    data = encoded(solid(), "JPEG2000")
    start = data.index(b"ihdr") + 4
    refused(data[:start] + struct.pack(">II", 300_000, 300_000) + data[start + 8 :], "exceeds the limit of 128 million pixels")
    refused(data[: len(data) // 2])


@pytest.mark.parametrize("name", files.one_of_each())
def test_a_file_cut_anywhere_is_read_or_refused_in_a_sentence(name: str) -> None:
    data = files.one_of_each()[name]
    for length in range(8, len(data), max(1, len(data) // 25)):
        try:
            decode(data[:length], SPEC)
        except ImageError as error:
            assert str(error).isprintable() and len(str(error)) < 300


def test_json_that_is_not_an_animation_is_named() -> None:
    refused(json.dumps({"layers": [], "error": "not found"}).encode(), "JSON text")


def test_a_jpeg_xl_image_without_its_end_is_named() -> None:
    data = files.jxl(draw_blocks(1))
    for end in (12, len(data) // 2):
        refused(data[:end], "it is cut off")
