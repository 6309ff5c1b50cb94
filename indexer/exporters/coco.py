"""Export to COCO, the JSON format of object detection (https://cocodataset.org/#format-data), which FiftyOne and others read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from indexer.exporters.text import rounded_tags

if TYPE_CHECKING:
    from indexer.domain.export import Export, ExportChunk

_DECIMAL_PLACES = 6


class _Rows:
    """Reads the rows of an export once, and writes two of the three lists of the format from them.

    The images go to the file at once; the annotations, which come after all images, wait in a second file.
    """

    def __init__(self, export: Export, annotations: TextIO, advance: Callable[[int], None]) -> None:
        self._categories = {emotion: number for number, emotion in enumerate(export.emotions, start=1)}
        self._export, self._annotations, self._advance = export, annotations, advance
        self.count = 0

    def images(self) -> Iterator[dict[str, Any]]:
        """Yield the images, and write the annotations of each, separated by commas."""
        number, path = 0, None
        for chunk in self._export.chunks:
            for one, rows in groupby(range(len(chunk)), key=chunk.paths.__getitem__):
                found = list(rows)
                if one != path:  # the faces of a file may go on in the next chunk
                    number, path = number + 1, one
                    width, height = chunk.sizes[found[0]]
                    image = {"id": number, "file_name": os.fsdecode(one), "width": width, "height": height}
                    yield image | ({"tags": rounded_tags(chunk, found[0])} if self._export.has_tags else {})
                for row in found:
                    self._annotate(chunk, row, number)
            self._advance(len(chunk))

    def _annotate(self, chunk: ExportChunk, row: int, image: int) -> None:
        width, height = chunk.sizes[row]
        left, top, right, bottom = chunk.boxes[row] or (0, 0, width, height)
        self.count += 1
        annotation = {
            "id": self.count,
            "image_id": image,
            "category_id": self._categories[chunk.emotions[row]],
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
            "score": round(chunk.scores[row], _DECIMAL_PLACES),
            "digest": chunk.digests[row],
            "user_label": chunk.labels[row],
        }
        self._annotations.write(("," if self.count > 1 else "") + json.dumps(annotation))

    def categories(self) -> list[dict[str, Any]]:
        """Return the emotions as categories."""
        return [{"id": number, "name": emotion, "supercategory": "emotion"} for emotion, number in self._categories.items()]


def write_coco(export: Export, file: Path, advance: Callable[[int], None]) -> int:
    """Write an export to a file; return the number of annotations.

    An annotation is a face, or a whole image without faces. `file_name` is an absolute path; bytes of it that are not valid UTF-8
    become surrogates, as in os.fsdecode. There are no embeddings. Images have `tags`, with their probabilities, if a tagger
    assigned some.
    """
    waiting = file.with_name(f"{file.name}.work")
    try:
        with file.open("w", encoding="ascii") as out, waiting.open("w+", encoding="ascii") as annotations:
            rows = _Rows(export, annotations, advance)
            out.write('{"images": [')
            for number, image in enumerate(rows.images()):
                out.write(("," if number else "") + json.dumps(image))
            out.write('], "annotations": [')
            annotations.seek(0)
            while portion := annotations.read(1 << 20):
                out.write(portion)
            out.write(f'], "categories": {json.dumps(rows.categories())}}}\n')
    finally:
        waiting.unlink(missing_ok=True)
    return rows.count
