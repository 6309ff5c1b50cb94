"""The content of sidecar files: XMP for photo managers, and captions for trainers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from enum import StrEnum
from xml.sax.saxutils import escape, unescape

_CREATOR = "moodex"
_KEYWORD = re.compile("<rdf:li>([^<|]*)</rdf:li>")
"""A keyword in a sidecar of moodex, but not the path of a hierarchical one, which has a bar."""

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmp:CreatorTool="{creator}">
   <dc:subject><rdf:Bag>{words}</rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag>{paths}</rdf:Bag></lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


class SidecarFormat(StrEnum):
    """The formats of sidecars."""

    XMP = "xmp"
    CAPTION = "caption"


def sidecar_path(image: bytes, form: SidecarFormat) -> bytes:
    """Return the path of the sidecar of an image: a.png.xmp, as photo managers expect it, or a.txt, as trainers do."""
    return image + b".xmp" if form is SidecarFormat.XMP else os.path.splitext(image)[0] + b".txt"


def sidecar_content(emotions: Sequence[str], form: SidecarFormat) -> bytes:
    """Return the content of a sidecar with the emotions of an image, as keywords or as a line of words."""
    if form is SidecarFormat.CAPTION:
        return (", ".join(emotions) + "\n").encode()
    words = "".join(f"<rdf:li>{escape(emotion)}</rdf:li>" for emotion in emotions)
    paths = "".join(f"<rdf:li>emotion|{escape(emotion)}</rdf:li>" for emotion in emotions)
    return _XMP.format(creator=_CREATOR, words=words, paths=paths).encode()


def is_ours(content: bytes) -> bool:
    """Return whether moodex wrote an XMP sidecar, and no other program changed it afterwards."""
    words = _KEYWORD.findall(content.decode(errors="replace"))
    return sidecar_content([unescape(word) for word in words], SidecarFormat.XMP) == content
