"""Reader of short videos (WebM, MP4), such as stickers, by FFmpeg (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, cast

import av
from av.codec import CodecContext
from PIL import Image

from indexer.domain.errors import Damaged
from indexer.imaging.limits import MAX_PIXELS, refuse_bomb
from indexer.imaging.readers.animation import Animation

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_MAX_SECONDS = 60
"""Longer videos are not stickers, and are refused."""

_MAX_PACKETS = 120 * _MAX_SECONDS
"""Limit of frames, for videos that state a wrong time."""

_MATROSKA_START = b"\x1aE\xdf\xa3"

_DECODERS = ("h264", "hevc", "libdav1d", "vp8", "vp9")
"""The decoders in use. The others of FFmpeg, hundreds for rare formats, get no bytes."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that read transparency, by those that do not."""

_TURNS = {
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
}
"""How to turn a frame upright, by its angle in degrees, counterclockwise."""


def open_image(data: bytes) -> Image.Image:
    """Open a video; frames are RGB, or RGBA if they may be transparent.

    Raises Damaged for a long video, one of another codec, and one that FFmpeg cannot read.
    """
    video = _Video(data)
    return Animation("VIDEO", video.size, video.frames, video.draw)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Translate errors of FFmpeg to Damaged."""
    try:
        yield
    except av.FFmpegError as error:
        raise Damaged(f"it is a video, but FFmpeg cannot read it: {error.strerror}; save its frames as images") from error


class _Video:
    """The frames of a video, decoded one after the other.

    - `size`: width and height of a frame, turned upright.
    - `frames`: number of frames, counted without decoding them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        with _plain_errors():
            self.frames = self._count_frames()
            self._start()
        self.size = _to_image(self._frame).size

    def draw(self, number: int) -> Image.Image:
        """Return a frame by its number from 0. Raises Damaged if the video ends before it."""
        with _plain_errors():
            if number < self._number:
                self._start()
            while self._number < number:
                self._advance()
        image = _to_image(self._frame)
        return image if image.size == self.size else image.resize(self.size)

    def _start(self) -> None:
        self._number = -1
        self._decoded = self._decode()
        self._advance()

    def _advance(self) -> None:
        frame = next(self._decoded, None)
        if frame is None:
            raise Damaged("it ends before its last frame")
        self._frame = frame
        self._number += 1

    def _count_frames(self) -> int:
        """Return the number of frames. Raises Damaged if it is too large."""
        with self._open() as container:
            stream = _stream(container)
            seconds = container.duration / av.time_base if container.duration else 0.0
            count = 0
            for packet in container.demux(stream):
                count += packet.size > 0
                if packet.pts is not None and packet.time_base is not None:
                    seconds = max(seconds, float((packet.pts - (stream.start_time or 0)) * packet.time_base))
                if seconds > _MAX_SECONDS or count > _MAX_PACKETS:
                    raise Damaged(
                        f"it is a video of more than {_MAX_SECONDS} seconds or {_MAX_PACKETS:,} frames; save its frames as images"
                    )
        return count

    def _decode(self) -> Iterator[VideoFrame]:
        with self._open() as container:
            stream = _stream(container)
            decoder = _decoder(stream)
            for packet in container.demux(stream):
                yield from decoder.decode(packet)

    def _open(self) -> InputContainer:
        form = "matroska" if self._data.startswith(_MATROSKA_START) else "mov"
        decoders = ",".join((*_DECODERS, *_ALPHA_DECODERS.values()))
        return av.open(BytesIO(self._data), "r", format=form, options={"codec_whitelist": decoders}, metadata_errors="replace")


def _stream(container: InputContainer) -> VideoStream:
    """Return the video in a file. Raises Damaged if there is none that moodex decodes."""
    if not container.streams.video:
        raise Damaged("it has no video")
    stream = container.streams.video[0]
    if stream.codec_context is None or stream.codec_context.name not in _DECODERS:
        raise Damaged("its video has a codec that moodex does not decode; save its frames as images")
    refuse_bomb((stream.codec_context.width, stream.codec_context.height))
    return stream


def _decoder(stream: VideoStream) -> VideoCodecContext:
    decoder = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in _ALPHA_DECODERS:
        decoder = cast("VideoCodecContext", CodecContext.create(_ALPHA_DECODERS[decoder.name], "r"))
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    decoder.thread_count = 1
    return decoder


def _to_image(frame: VideoFrame) -> Image.Image:
    form = "rgba" if any(component.is_alpha for component in frame.format.components) else "rgb24"
    image = Image.fromarray(frame.to_ndarray(format=form))
    turn = _TURNS.get(frame.rotation)
    return image if turn is None else image.transpose(turn)
