"""The formats of stickers and of programs for drawing: each is read, and hostile files are refused."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from indexer.domain.errors import Damaged, ImageError, Unsupported
from indexer.domain.images import DecodedImage
from indexer.imaging import further_formats, limits
from indexer.imaging.decode import decode
from indexer.imaging.readers import inflate, layered, lottie, video
from indexer.ports.sources import EXTENSIONS
from tests.support import further_formats as files
from tests.support.builders import SPEC, draw_blocks, encoded

COLOR = (200, 30, 90)
FRAMES = [draw_blocks(seed) for seed in range(12)]


def _words(value: object) -> str:
    """Return the part of a test's name for a parameter; bytes have none."""
    return value if isinstance(value, str) else ""


def solid(mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> Image.Image:
    return Image.new("RGB", size, COLOR).convert(mode)


def center(image: DecodedImage) -> tuple[int, ...]:
    return tuple(int(channel) for channel in image.pixels[16, 16])


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
    ids=_words,
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
        files.video(LARGER_FRAMES, "mp4", "libsvtav1"),
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
    module = further_formats._EXTRAS[reader].module
    found = further_formats.find_spec
    monkeypatch.setattr(further_formats, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(Unsupported, match=rf"which needs an extra decoder: pip install 'moodex\[{extra}\]'$"):
        decode(data, SPEC)
    missing = further_formats.readable_extensions()
    assert missing > EXTENSIONS
    monkeypatch.undo()
    assert missing < further_formats.readable_extensions()


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
        (b"<svg", r"it is a vector drawing \(SVG\) and cannot be decoded"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='0' height='0'/>", "invalid size"),
        (b"<svg viewBox='0 0 1 1'/>", "namespace of SVG"),
        (files.svg('<circle r="1e9"/>'), "resvg cannot draw it"),
        (gzip.compress(files.svg(), mtime=0)[:-20], "ends too early"),
    ],
    ids=_words,
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
        (files.lottie(w=0), "it states no size"),
        (files.lottie(w=-5), "it states no size"),
        (files.lottie(h=1e30), "it states no size"),
        (files.lottie(w="100"), "it states no size"),
        (files.lottie(op=0), "it has no frame"),
        (files.lottie()[:-5], "Lottie"),
        (files.tgs()[:-5], "ends too early"),
        (b"[" + files.lottie() + b"]", "it is not an animation"),
        (files.zipped(**{"manifest.json": b"{}", "animations/a.png": b""}), "an archive without an animation"),
        (b'{"fr":1,"op":2,"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be decoded"),
    ],
    ids=_words,
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
        ({"mergedimage.png": b"x"}, r"it is an OpenRaster file \(ORA\) and cannot be decoded"),
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
