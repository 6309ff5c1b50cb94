"""Weights files whose bytes are the ones that their cards vouch for. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.numpy import load

from indexer.errors import ModelUnavailable

if TYPE_CHECKING:
    from indexer.domain import Floats


def read_verified(path: Path, digest: str) -> bytes:
    """A safetensors file's bytes, if their BLAKE3 digest is that one. Raises ModelUnavailable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"The weights {path} cannot be read: {error.strerror}.") from error
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ModelUnavailable(f"{path} is a pickle under another name; moodex loads safetensors files only.")
    if blake3(data).hexdigest() != digest:
        raise ModelUnavailable(f"The weights {path} are damaged or not the ones its card describes: the digests differ.")
    return data


def read_arrays(path: Path, digest: str) -> dict[str, Floats]:
    """Its tensors of floating-point numbers, as float32, by name. Raises ModelUnavailable."""
    try:
        tensors = load(read_verified(path, digest))
    except SafetensorError as error:
        raise ModelUnavailable(f"{path} is not a safetensors file: {error}.") from error
    return {name: values.astype(np.float32) for name, values in tensors.items() if values.dtype.kind == "f"}
