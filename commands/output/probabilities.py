"""The emotion probabilities of one image as bars, face by face."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from commands.output.hits import format_box
from commands.output.letters import can_write
from indexer.plain_data.hits import hit_as_dict
from indexer.system.text import display_path, printable

if TYPE_CHECKING:
    from indexer.domain.queries import Hit

_BAR_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def write_json(images: Sequence[Sequence[Hit]], single: bool, out: TextIO) -> None:
    """Write the hits of each image as JSON: one object for a `single` image, else an array with an object for each.

    The hits are those of `write_bars`. An object is that of the first hit; if there are several, with all of them as its `faces`.
    """
    objects = [
        hit_as_dict(hits[0]) if len(hits) == 1 else {**hit_as_dict(hits[0]), "faces": [hit_as_dict(hit) for hit in hits]}
        for hits in images
    ]
    json.dump(objects[0] if single else objects, out, indent=2)
    out.write("\n")


def write_bars(hits: Sequence[Hit], out: TextIO) -> None:
    """Write the emotion probabilities of each hit, most probable first.

    The hits are those of one image: one for each face, the largest first.
    """
    main = hits[0]
    out.write(f"{display_path(main.path)}  ({main.image_id[:8]})\n")
    if main.label is not None:
        out.write(f"  Your label: {printable(main.label)}. The model predicts:\n")
    if main.incomplete:
        out.write("  The end of the file is missing; this is what the rest shows.\n")
    for number, hit in enumerate(hits, start=1):
        frame = "" if hit.frame is None else f" in frame {hit.frame}"
        if hit.box is None:
            out.write(f"  no face cut out: the whole image{frame}\n")
        else:
            count = f" {number} of {len(hits)}" if len(hits) > 1 else ""
            out.write(f"  face{count} at {format_box(hit.box)}{frame}\n")
        _write_emotions(hit.emotions, out)
    if main.tags is not None:
        out.write(f"  tags: {', '.join(f'{printable(tag)} {score:.0%}' for tag, score in main.tags.items()) or 'none'}\n")


def _write_emotions(emotions: Mapping[str, float], out: TextIO) -> None:
    width = max(len(printable(emotion)) for emotion in emotions)
    bar = _bar if can_write(_EIGHTHS, out) else _ascii_bar
    for emotion, probability in sorted(emotions.items(), key=lambda item: -item[1]):
        out.write(f"  {printable(emotion):<{width}} {probability:6.1%}  {bar(probability)}".rstrip() + "\n")


def _bar(share: float) -> str:
    whole, eighths = divmod(round(share * _BAR_WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[eighths]


def _ascii_bar(share: float) -> str:
    return "#" * round(share * _BAR_WIDTH)
