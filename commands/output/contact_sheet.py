"""Contact sheets: a self-contained HTML file with a thumbnail of every hit."""

from __future__ import annotations

import base64
import os
import sys
import webbrowser
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote_from_bytes

from commands.output.hits import copies_in_words
from indexer.system.text import display_path, pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.queries import Hit, SearchRequest

Thumbnail = Callable[[bytes, tuple[int, int, int, int] | None, int | None], bytes | None]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8882; --bar: #e8833a; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; }}
h1 {{ font-size: 1.25rem; margin: 0 0 .25rem; }}
p {{ margin: 0 0 1.5rem; opacity: .7; }}
ol {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; list-style: none; padding: 0; }}
li {{ border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }}
a {{ color: inherit; text-decoration: none; display: block; }}
a:focus-visible {{ outline: 3px solid var(--bar); }}
img, .none {{ width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff; display: block; }}
.none {{ display: grid; place-items: center; color: #666; }}
.text {{ padding: .5rem .65rem .65rem; }}
.top {{ display: flex; justify-content: space-between; }}
.score {{ opacity: .7; font-variant-numeric: tabular-nums; }}
.bar {{ height: 4px; background: var(--soft); border-radius: 2px; margin: .3rem 0; }}
.bar i {{ display: block; height: 100%; background: var(--bar); border-radius: 2px; }}
.path {{ font-size: .8rem; opacity: .7; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{count}</p>
<ol>
{cards}
</ol>
</body>
</html>
"""

_CARD = """<li><a href="file://{link}" title="{title}">{image}<div class="text">
<div class="top"><span>{emotion}</span><span class="score">{score}</span></div>
<div class="bar"><i style="width:{percent:.0f}%"></i></div><div class="path">{path}</div></div></a></li>"""


def show_sheet(hits: Sequence[Hit], request: SearchRequest, thumbnail: Thumbnail, home: Path, open_it: bool, out: TextIO) -> None:
    """Write the sheet to `out`; if that is a terminal or a browser is to open it, to a file in `home`.

    `thumbnail` returns the thumbnail of an image as PNG, from its path, the box of a face and the number of its frame; None for
    an unreadable file.
    """
    page = sheet(hits, describe(request), thumbnail)
    if not open_it and not out.isatty():
        out.write(page)
        return
    path = home / "sheet.html"
    path.write_text(page, encoding="utf-8")
    out.write(f"{printable(str(path))}\n")
    if open_it and not webbrowser.open(path.as_uri()):
        sys.stderr.write("moodex: Cannot start a browser; open the file above yourself.\n")


def sheet(hits: Sequence[Hit], title: str, thumbnail: Thumbnail) -> str:
    """Return the page as HTML."""
    cards = "\n".join(_card(hit, thumbnail(hit.path, hit.box, hit.frame)) for hit in hits)
    return _PAGE.format(title=escape(printable(title)), count=escape(pluralize(len(hits), "image")), cards=cards)


def describe(request: SearchRequest) -> str:
    """Describe a search request, for example as "happy, not crying, like a.png"."""
    parts = [" or ".join(printable(emotion) for emotion in request.emotions)] if request.emotions else []
    parts += [f"not {printable(emotion)}" for emotion in request.excluded]
    parts += [f"like {display_path(path)}" for path in (request.image, request.like) if path is not None]
    parts += [f"as the text {printable(text)}" for text in request.texts]
    parts += [f"under {' or '.join(map(display_path, request.under))}"] if request.under else []
    parts += [f"score at least {request.min_score:g}"] if request.min_score else []
    return ", ".join(parts)


def _card(hit: Hit, thumbnail: bytes | None) -> str:
    image = '<div class="none">cannot be read</div>'
    if thumbnail is not None:
        image = f'<img alt="" src="data:image/png;base64,{base64.b64encode(thumbnail).decode("ascii")}">'
    top_emotions = ", ".join(f"{emotion} {p:.0%}" for emotion, p in sorted(hit.emotions.items(), key=lambda item: -item[1])[:4])
    similarity = "" if hit.similarity is None else f" · similarity {hit.similarity:.3f}"
    copies = f" · {copies_in_words(hit)}" if hit.copies else ""
    return _CARD.format(
        link=quote_from_bytes(hit.path),
        title=escape(printable(top_emotions)),
        image=image,
        emotion=escape(printable(hit.emotion)),
        score=f"{hit.score:.0%}{similarity}{copies}",
        percent=hit.score * 100,
        path=escape(display_path(os.path.basename(hit.path))),
    )
