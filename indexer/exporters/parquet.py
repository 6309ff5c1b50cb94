"""Exports as Parquet, a row group for every portion: typed columns, embeddings as lists of fixed size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.domain.export import Export, ExportChunk

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


def write_parquet(export: Export, file: Path, advance: Callable[[int], None]) -> int:
    """Write an export; how many rows. Embeddings are float32, which every reader knows, and NaN where the model
    has not seen the picture (Parquet has no lists of fixed size that are null). Bytes of a path that are no valid text
    are written as \\xNN; the digest says which picture it is. The schema's metadata name the model and its spaces.
    """
    card, count = export.card, 0
    about = {"model": card.name, "key": card.key, "weights_digest": card.weights_digest, "spaces": dict(card.spaces)}
    fields = [*_FACTS, *((name, pa.float32()) for name in export.probability_columns)]
    fields.append(("embedding", pa.list_(pa.float32(), card.embedding_size)))
    schema = pa.schema(fields, metadata={"moodex": json.dumps(about)})
    writing: Any = pq.ParquetWriter  # it has no types
    with writing(file, schema, compression="zstd") as writer:
        for portion in export.portions:
            writer.write_table(pa.Table.from_arrays(_columns(portion, schema), schema=schema))
            count += len(portion)
            advance(len(portion))
    return count


def _columns(portion: ExportChunk, schema: Any) -> list[Any]:
    import numpy as np

    paths = [path.decode("utf-8", "backslashreplace") for path in portion.paths]
    edges = zip(*(box or (None,) * 4 for box in portion.boxes), strict=True)
    facts = [paths, portion.digests, portion.emotions, portion.scores, portion.labels, portion.regions, *edges]
    columns = [pa.array(values, type=schema.field(number).type) for number, values in enumerate(facts)]
    columns += [pa.array(numbers, type=pa.float32(), from_pandas=True) for numbers in portion.probabilities.T]
    vectors = portion.embeddings.astype(np.float32)
    flat = pa.array(vectors.ravel(), type=pa.float32())
    return [*columns, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])]
