"""Reading of safetensors files, after their digest was verified. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.numpy import load

from indexer.domain.errors import ModelUnavailable
from indexer.system.safe_read import read_bounded

if TYPE_CHECKING:
    from indexer.domain.types import Floats

MAX_BYTES = 1 << 33
"""Size limit of a weights file, 8 GiB: twice the largest networks of timm and open_clip."""

_MAX_REASON_LENGTH = 200
"""Characters of a reason in an error message."""

NO_TENSORS = (SafetensorError, KeyError, TypeError, ValueError)
"""Errors of safetensors for other files, and for number types that numpy or torch does not support."""


def read_verified(path: Path, digest: str) -> bytes:
    """Read the bytes of a safetensors file and verify their BLAKE3 digest, a hex string.

    Raises ModelUnavailable if the file cannot be read, exceeds `MAX_BYTES`, is a pickle, or has another digest.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except (OSError, ValueError, MemoryError) as error:
        raise ModelUnavailable(f"The weights {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ModelUnavailable(f"{path} is a pickle under another name; moodex loads safetensors files only.")
    if blake3(data).hexdigest() != digest:
        raise ModelUnavailable(f"The weights {path} are damaged or not the ones that the card describes: the digests differ.")
    return data


def read_arrays(path: Path, digest: str) -> dict[str, Floats]:
    """Read the floating-point tensors of a file as float32 arrays, by name.

    Other tensors are skipped. Raises ModelUnavailable as `read_verified` does, and for another kind of file.
    """
    try:
        tensors = load(read_verified(path, digest))
    except NO_TENSORS as error:
        raise not_safetensors(path, error) from error
    return {name: values.astype(np.float32, copy=False) for name, values in tensors.items() if values.dtype.kind == "f"}


def not_safetensors(path: Path, error: Exception) -> ModelUnavailable:
    """Return the error for a file from which safetensors cannot read tensors."""
    if isinstance(error, SafetensorError):
        reason = " ".join(str(error).split())
    else:
        reason = f"it holds numbers of an unknown kind, {error}"
    return ModelUnavailable(f"{path} is not a safetensors file: {reason[:_MAX_REASON_LENGTH]}.")
