"""ONNX graphs without weights, which a session gets from the safetensors file of a hub.

So a graph takes kilobytes in `NAME.safetensors`, and the weights stay in the cache of the hub. Imports neither torch nor onnx.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class LinkedGraph:
    """A graph, and the tensors of a file that are its weights.

    - `onnx`: a model whose weights are external data with the names of the tensors.
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
            return cls(onnx, tuple(map(str, fields["weights"])), str(fields["digest"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelUnavailable("The graph of the model is damaged; add the model again.") from error

    def as_array(self) -> Pixels:
        """Return the graph as bytes, uint8, (K,): a line of JSON, and the ONNX file."""
        header = json.dumps({"weights": self.weights, "digest": self.digest}).encode()
        return np.frombuffer(header + b"\n" + self.onnx, dtype=np.uint8)

    def load_weights(self, path: Path) -> dict[str, Floats]:
        """Read the weights, float32, by name, from a safetensors file.

        Raises ModelUnavailable if a tensor is missing or differs from the one that was linked.
        """
        stored = read_tensors(path, self.weights)
        if digest_of(list(stored.values())) != self.digest:
            raise ModelUnavailable(f"The weights {path} are damaged or not the ones that the card describes: the digests differ.")
        return {name: values.astype(np.float32, copy=False) for name, values in stored.items()}


def read_tensors(path: Path, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Read some or all tensors of a safetensors file as they are stored, by name. Raises ModelUnavailable."""
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
    except (*NO_TENSORS, OSError) as error:
        raise ModelUnavailable(f"The weights {path} cannot be read: {' '.join(str(error).split())[:200]}.") from error
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
