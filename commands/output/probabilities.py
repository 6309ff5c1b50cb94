"""The emotion probabilities of one image as bars, face by face."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from commands.output.hits import format_box, hit_as_dict
from indexer.system.text import display_path, printable

if TYPE_CHECKING:
    from indexer.domain.queries import Hit

_BAR_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def write_bars(hits: Sequence[Hit], as_json: bool, out: TextIO) -> None:
    """Write the emotion probabilities of each hit, most probable first.

    The hits are those of one image: one for each face, the largest first. JSON is the object of the first hit; if there are
    several, with all of them as its `faces`.
    """
    main = hits[0]
    if as_json:
        facts = hit_as_dict(main)
        json.dump(facts if len(hits) == 1 else {**facts, "faces": [hit_as_dict(hit) for hit in hits]}, out, indent=2)
        out.write("\n")
        return
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


def _write_emotions(emotions: Mapping[str, float], out: TextIO) -> None:
    width = max(len(printable(emotion)) for emotion in emotions)
    for emotion, probability in sorted(emotions.items(), key=lambda item: -item[1]):
        out.write(f"  {printable(emotion):<{width}} {probability:6.1%}  {_bar(probability)}".rstrip() + "\n")


def _bar(share: float) -> str:
    whole, eighths = divmod(round(share * _BAR_WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[eighths]
