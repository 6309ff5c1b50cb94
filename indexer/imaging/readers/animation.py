"""An animation whose frames a library draws, as an image of Pillow."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image


class Animation(Image.Image):
    """An image that shows one of several frames.

    `draw` returns the frame of a number from 0, RGB or RGBA, of width and height `size`, and raises if it is damaged.
    """

    def __init__(self, form: str, size: tuple[int, int], frames: int, draw: Callable[[int], Image.Image]) -> None:
        super().__init__()
        self.format = form
        self.n_frames = frames
        self.is_animated = frames > 1
        self._size = size
        self._draw = draw
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Show a frame. Raises EOFError for a number that no frame has."""
        if not 0 <= frame < self.n_frames:
            raise EOFError(f"there is no frame {frame + 1}")
        drawn = self._draw(frame)
        self._im, self._mode = drawn.im, drawn.mode
