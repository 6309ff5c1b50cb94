"""Selection of the device, and tuning of the memory allocator."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

from indexer.domain.errors import DeviceUnavailable

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Options of mallopt, as in malloc.h of glibc."""

_KEPT_BYTES = 1 << 30
"""Freed memory that malloc keeps, and size of a block up to which it does."""

_TOP_PAD_BYTES = _KEPT_BYTES >> 4
"""Memory that malloc requests from the system in excess of what it needs."""


def select_device(name: str, require_gpu: bool = False) -> torch.device:
    """Return the device with a name: auto, cpu, cuda, cuda:N or mps.

    "auto" selects cuda if it is available, else mps, else the CPU. "cuda" without a number means all GPUs. Raises
    DeviceUnavailable for an unknown name, for a missing device, and for the CPU if a GPU is required.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceUnavailable(f"Unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps.") from None
    if not _is_available(device):
        raise DeviceUnavailable(f"The device {name} is not on this machine; torch {torch.__version__} sees {_available()}.")
    if require_gpu and device.type == "cpu":
        raise DeviceUnavailable(f"A GPU is required, but torch {torch.__version__} sees {_available()}.")
    return device


def expand_device(device: torch.device) -> list[torch.device]:
    """Return every GPU for "cuda" without a number, else the device."""
    if device.type != "cuda" or device.index is not None:
        return [device]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


@cache
def tune_malloc() -> None:
    """Make glibc keep freed memory, for the whole process; do nothing with another C library.

    By default, glibc returns the memory of every activation to the system. Without that, inference on a CPU is 1.5 times as
    fast.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(option, _KEPT_BYTES)
    mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _available() -> str:
    """List the names of the available devices, for an error message."""
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join([*names, "cpu"]) if names else "only the CPU"
