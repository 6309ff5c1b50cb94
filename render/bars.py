"""One picture's emotions as bars."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from render.hits import hit_as_dict
from render.text import printable, shown_path

if TYPE_CHECKING:
    from indexer.domain import Hit

_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def write_bars(hit: Hit, as_json: bool, out: TextIO) -> None:
    """Write every emotion's probability, most probable first."""
    if as_json:
        json.dump(hit_as_dict(hit), out, indent=2)
        out.write("\n")
        return
    out.write(f"{shown_path(hit.path)}  ({hit.image_id[:8]})\n")
    if hit.label is not None:
        out.write(f"  You said: {printable(hit.label)}. The model says:\n")
    width = max(map(len, hit.emotions))
    for emotion, probability in sorted(hit.emotions.items(), key=lambda item: -item[1]):
        out.write(f"  {emotion:<{width}} {probability:6.1%}  {_bar(probability)}".rstrip() + "\n")


def _bar(share: float) -> str:
    whole, eighths = divmod(round(share * _WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[eighths]
