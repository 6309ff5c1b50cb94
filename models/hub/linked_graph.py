"""ONNX graphs without weights, which a session gets from the safetensors file of a hub.

So a graph takes kilobytes in `NAME.safetensors`, and the weights stay in the cache of the hub. Imports neither torch nor onnx.

The weights of an image encoder are external data: ONNX Runtime copies them in an order that suits many images. Those of a text
encoder are inputs: a single text is encoded before they could be copied.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3
from safetensors import safe_open

from indexer.domain.errors import ModelUnavailable
from models.safetensors_io import NO_TENSORS

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Pixels

_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header, which is JSON."""

_NUMBER_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class LinkedGraph:
    """A graph, and the tensors of a file that are its weights.

    - `onnx`: a model whose weights are external data or further inputs, with the names of the tensors.
    - `weights`: these names. `digest`: BLAKE3 hex digest of the contents of the tensors, in this order.
    """

    onnx: bytes
    weights: tuple[str, ...]
    digest: str

    @classmethod
    def from_array(cls, array: Pixels) -> LinkedGraph:
        """Read what `as_array` returned. Raises ModelUnavailable for anything else."""
        header, _, onnx = array.tobytes().partition(b"\n")
        try:
            fields = json.loads(header)
            return cls(onnx, tuple(map(str, fields["tensors"])), str(fields["digest"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelUnavailable("The graph of the model is damaged; add the model again.") from error

    def as_array(self) -> Pixels:
        """Return the graph as bytes, uint8, (K,): a line of JSON, and the ONNX file."""
        header = json.dumps({"tensors": self.weights, "digest": self.digest}).encode()
        return np.frombuffer(header + b"\n" + self.onnx, dtype=np.uint8)

    def load_weights(self, path: Path) -> dict[str, Floats]:
        """Return the weights, float32, by name, as a safetensors file has them; it must not change while they are in use.

        Raises ModelUnavailable if a tensor is missing or differs from the one that was linked.
        """
        stored = _map_tensors(path, self.weights)
        if digest_of(list(stored.values())) != self.digest:
            raise ModelUnavailable(f"The weights {path} are damaged or not the ones that the card describes: the digests differ.")
        return {name: values.astype(np.float32, copy=False) for name, values in stored.items()}


def _map_tensors(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return some floating-point tensors of a safetensors file, by name, as parts of the mapped file: reading would copy them.

    Raises ModelUnavailable.
    """
    try:
        with safe_open(path, framework="numpy"):  # checks the header
            pass
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        header = json.loads(content[_LENGTH_BYTES:start])
        return {name: _part(content, start, header[name]) for name in names}
    except (*NO_TENSORS, OSError) as error:
        raise _cannot_read(path, error) from error


def _part(content: mmap.mmap, start: int, fields: Mapping[str, Any]) -> npt.NDArray[Any]:
    first, end = fields["data_offsets"]
    kind = _NUMBER_TYPES[fields["dtype"]]
    values: npt.NDArray[Any] = np.frombuffer(content, kind, (end - first) // kind.itemsize, start + first)
    return values.reshape(fields["shape"])


def _cannot_read(path: Path, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"The weights {path} cannot be read: {' '.join(str(error).split())[:200]}.")


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all tensors of a safetensors file as they are stored, by name. Raises ModelUnavailable."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (*NO_TENSORS, OSError) as error:
        raise _cannot_read(path, error) from error
    # numpy knows bfloat16 only after some other packages were imported.
    if unknown := next((values.dtype for values in tensors.values() if values.dtype.kind not in "biuf"), None):
        raise ModelUnavailable(f"The weights {path} cannot be read: data type {unknown.name!r} is not supported.")
    return tensors


def digest_of(arrays: Sequence[npt.NDArray[Any]]) -> str:
    """Return the BLAKE3 hex digest of the contents of arrays."""
    hasher = blake3(max_threads=blake3.AUTO)
    for values in arrays:
        hasher.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()
