"""Which sidecars moodex may replace: those that it wrote and that no other program changed."""

from __future__ import annotations

import pytest

from indexer.transfer.sidecar_formats import SidecarFormat, is_ours, sidecar_content

XMP = sidecar_content(["happy", "R&B <3"], SidecarFormat.XMP)


def test_a_sidecar_as_moodex_wrote_it_is_ours() -> None:
    assert is_ours(XMP)
    assert is_ours(sidecar_content(["sad"], SidecarFormat.XMP))


@pytest.mark.parametrize(
    "changed",
    [
        XMP.replace(b"xmp:CreatorTool", b'xmp:Rating="5" xmp:CreatorTool'),
        XMP.replace(b"<dc:subject><rdf:Bag>", b"<dc:subject><rdf:Bag><rdf:li>holiday</rdf:li>"),
        XMP + b"\n",
        b'<x xmp:CreatorTool="moodex"/>',
        b"\xff\xfe",
        b"",
    ],
)
def test_a_sidecar_that_another_program_wrote_or_changed_is_not_ours(changed: bytes) -> None:
    assert not is_ours(changed)
