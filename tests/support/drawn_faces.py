"""A drawn character with nine expressions, and the fingerprints of images."""

from __future__ import annotations

from PIL import Image, ImageDraw

from indexer.imaging.decode import decode
from indexer.imaging.fingerprint import fingerprint
from tests.support.builders import SPEC, encoded

EYES, MOUTHS = ("open", "closed", "wink"), ("grin", "teeth", "smile")


def draw_face(eyes: str, mouth: str, size: int = 256) -> Image.Image:
    """Draw a character with an expression, four times as large, and reduce it."""
    image = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 80, 904, 960), fill=(255, 220, 185), outline=0, width=12)
    for left in (300, 580):
        if eyes == "open" or (eyes == "wink" and left == 300):
            draw.ellipse((left, 360, left + 120, 520), fill="white", outline=0, width=10)
            draw.ellipse((left + 30, 400, left + 90, 500), fill=(30, 60, 120))
        else:
            draw.arc((left, 400, left + 120, 520), 200, 340, fill=0, width=24)
    box = (360, 580, 660, 840)
    if mouth == "smile":
        draw.arc(box, 20, 160, fill=0, width=24)
    else:
        draw.chord(box, 0, 180, fill="white" if mouth == "teeth" else (190, 40, 50), outline=0, width=18)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def fingerprint_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    return fingerprint(decode(encoded(image, form, **options), SPEC, 768).pixels)
