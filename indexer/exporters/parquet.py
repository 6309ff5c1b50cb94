"""Export to Parquet: typed columns, embeddings as lists of fixed size, one row group for each chunk.

`datasets` of Hugging Face finds its own description of the columns in the file, by which `image` becomes an image.
embedding-atlas reads the columns `x`, `y` and `embedding`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.domain.export import Export, ExportChunk
    from indexer.domain.types import Floats

require("pyarrow", "pyarrow", "parquet", "Writing Parquet")

import pyarrow as pa  # noqa: E402  # after the check, which says what to install
import pyarrow.parquet as pq  # noqa: E402

_FACTS = (
    ("path", pa.string()),
    ("digest", pa.string()),
    ("emotion", pa.string()),
    ("score", pa.float32()),
    ("label", pa.string()),
    ("region", pa.int32()),
    ("left", pa.int32()),
    ("top", pa.int32()),
    ("right", pa.int32()),
    ("bottom", pa.int32()),
)


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(export: Export, file: Path, advance: Callable[[int], None]) -> int:
    """Write an export to a file; return the number of rows.

    - Embeddings are float32, which every program can read. They are NaN for an image without a prediction, because Parquet has no
      null lists of fixed size.
    - Bytes of a path that are not valid UTF-8 are written as \\xNN; the digest identifies the image.
    - `tags` and `tag_probabilities` are lists of equal length, the most probable tag first, if a tagger assigned some.
    - `x` and `y`, 0-1, are places on the map; null for rows that are not on it. `image` names the file, without its bytes.
    - The schema's metadata name the model and its spaces, and describe the columns for `datasets`.
    """
    card, count = export.card, 0
    about = {"model": card.name, "key": card.key, "weights_digest": card.weights_digest, "spaces": dict(card.spaces)}
    fields = [*_FACTS, *((name, pa.float32()) for name in export.probability_columns)]
    fields.append(("embedding", pa.list_(pa.float32(), card.embedding_size)))
    if export.has_tags:
        fields += [("tags", pa.list_(pa.string())), ("tag_probabilities", pa.list_(pa.float32()))]
    fields += [("x", pa.float32()), ("y", pa.float32()), ("image", _IMAGE)]
    described = {"info": {"features": {name: _feature(kind) for name, kind in fields}}}
    schema = pa.schema(fields, metadata={"moodex": json.dumps(about), "huggingface": json.dumps(described)})
    open_writer: Any = pq.ParquetWriter  # pyarrow has no type hints
    with open_writer(file, schema, compression="zstd") as writer:
        for chunk in export.chunks:
            columns = _columns(chunk, schema, export.places(chunk), export.has_tags)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(chunk)
            advance(len(chunk))
    return count


def _feature(kind: Any) -> dict[str, Any]:
    """Return the type of a column as `datasets` describes it."""
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"_type": "Sequence", "feature": _feature(kind.value_type)}
    if pa.types.is_fixed_size_list(kind):
        return {"_type": "Sequence", "feature": _feature(kind.value_type), "length": kind.list_size}
    return {"_type": "Value", "dtype": "float32" if kind == pa.float32() else str(kind)}


def _columns(chunk: ExportChunk, schema: Any, places: Floats, has_tags: bool) -> list[Any]:
    import numpy as np

    paths = [path.decode("utf-8", "backslashreplace") for path in chunk.paths]
    edges = zip(*(box or (None,) * 4 for box in chunk.boxes), strict=True)
    facts = [paths, chunk.digests, chunk.emotions, chunk.scores, chunk.labels, chunk.regions, *edges]
    columns = [pa.array(values, type=schema.field(number).type) for number, values in enumerate(facts)]
    columns += [pa.array(numbers, type=pa.float32(), from_pandas=True) for numbers in chunk.probabilities.T]
    vectors = chunk.embeddings.astype(np.float32)
    flat = pa.array(vectors.ravel(), type=pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
    if has_tags:
        tags = chunk.tags or [{}] * len(chunk)
        columns.append(pa.array([list(one) for one in tags], type=pa.list_(pa.string())))
        columns.append(pa.array([list(one.values()) for one in tags], type=pa.list_(pa.float32())))
    columns += [pa.array(numbers, type=pa.float32(), from_pandas=True) for numbers in places.T]
    return [*columns, pa.array([{"bytes": None, "path": path} for path in paths], type=_IMAGE)]
