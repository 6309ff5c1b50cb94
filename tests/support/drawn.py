"""Drawn faces for tests of training, and data sets in the layouts of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

MOUTHS = {"happy": 0, "sad": 180, "angry": 90, "surprise": 270}

FERG_LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
MANGA_LABELS = ("angry", "crying", "embarrassed", "happy", "pleased", "sad", "shock")
FERG_CHARACTERS = ("aia", "bonnie", "jules")


def draw(path: Path, mouth: int, color: tuple[int, ...] = (250, 210, 60), shift: int = 0) -> None:
    """Draw a face with a semicircular mouth that starts at `mouth` degrees."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((6 + shift, 6, 58 + shift, 58), fill=color)
    for eye in (22, 42):
        pen.ellipse((eye - 3 + shift, 22, eye + 3 + shift, 28), fill="black")
    pen.arc((18 + shift, 32 + mouth // 9, 46 + shift, 50 + mouth // 9), mouth, mouth + 180, fill="black", width=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def two_artists(root: Path, count: int = 12, emotions: Sequence[str] = ("happy", "sad")) -> Path:
    """Draw the same emotions in one color for each of two artists: ARTIST/EMOTION/NUMBER.png."""
    for artist, color in (("anna", (250, 210, 60)), ("ben", (120, 200, 250))):
        for emotion in emotions:
            for number in range(count):
                tint = tuple(max(0, part - 3 * number) for part in color)
                draw(root / artist / emotion / f"{number}.png", MOUTHS[emotion], tint, number % 5 - 2)
    return root


def ferg(root: Path, flat: bool = False, count: int = 2) -> Path:
    """Paint a data set of different images in the layout of FERG-DB.

    Files are CHARACTER/CHARACTER_LABEL/FILE or, if `flat`, LABEL/CHARACTER_LABEL_NUMBER.png.
    """
    shade = 0
    for character in FERG_CHARACTERS:
        for label in FERG_LABELS:
            for number in range(1, count + 1):
                name = f"{character}_{label}_{number}.png"
                path = root / label / name if flat else root / character / f"{character}_{label}" / name
                paint(path, shade := shade + 5)
    return root


def manga(root: Path, count: int = 3) -> Path:
    """Paint a data set of JPEG and PNG files in the layout of the manga set: LABEL/FILE."""
    shade = 0
    for label in MANGA_LABELS:
        for number in range(count):
            paint(root / label / f"{number}.{'jpg' if number % 2 else 'png'}", shade := shade + 7)
    return root


def paint(path: Path, shade: int) -> None:
    """Paint a small image of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade % 256, 255 - shade % 256, shade * 7 % 256)).save(path)
