"""Reader of vector drawings (SVG), by resvg. It runs no scripts, and draws no text, so that fonts make no difference."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # it loads nothing, and expat limits how much entities inflate
from io import BytesIO

import resvg_py
from PIL import Image, PngImagePlugin

from indexer.domain.errors import Damaged
from indexer.imaging import cut_off
from indexer.imaging.readers.inflate import inflate

_SIDE = 768
"""The longer side of the image in pixels, whatever size the drawing states: faces are searched for at this size."""

_MAX_DEPTH = 100
"""Limit of elements inside each other: resvg recurses, and its stack overflows at about 250."""

_ROOT = "{http://www.w3.org/2000/svg}svg"

_HARMLESS_REFERENCE = re.compile(r"\s*(#|data:image/(png|jpe?g|gif|webp)[;,])", re.IGNORECASE)
"""A reference to an element of the drawing, or an image inside the reference."""


def open_image(data: bytes) -> Image.Image:
    """Draw a drawing as RGBA.

    Raises Damaged for one that is cut off, and for too much text or too deep elements, ParseError and ValueError for others.
    """
    text = inflate(data)
    try:
        drawing = _without_references(text)
    except ET.ParseError as error:
        if text.rstrip(b"\0 \t\r\n").endswith(b">"):
            raise
        raise Damaged(cut_off.REASON) from error
    image = PngImagePlugin.PngImageFile(BytesIO(_draw(drawing)))
    image.format = "SVG"
    return image


def _draw(drawing: str) -> bytes:
    """Return a drawing as PNG. Raises Damaged for a drawing that is too odd for resvg, ValueError for one that is none."""
    try:
        return resvg_py.svg_to_bytes(svg_string=drawing, width=_SIDE, height=_SIDE, skip_system_fonts=True)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as panic:  # Rust found an error of its own; the class of such errors cannot be imported
        raise Damaged("resvg cannot draw it") from panic


def _without_references(data: bytes) -> str:
    """Return a drawing without references to files and addresses: resvg would read the files."""
    depth = 0
    elements = ET.iterparse(BytesIO(data), ("start", "end"))  # noqa: S314  # as above
    for event, element in elements:
        if event == "end":
            depth -= 1
            continue
        depth += 1
        if depth > _MAX_DEPTH:
            raise Damaged(f"its elements are more than {_MAX_DEPTH} levels deep")
        for name, value in list(element.items()):
            if name.endswith("href") and not _HARMLESS_REFERENCE.match(value):
                del element.attrib[name]
    root: ET.Element = elements.root  # type: ignore[attr-defined]  # it exists after the last event
    if root.tag != _ROOT:
        raise Damaged("its root element is not in the namespace of SVG")
    return ET.tostring(root, encoding="unicode")
