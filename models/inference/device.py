"""Which device computes, and how the C library keeps its memory."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

from indexer.domain.errors import DeviceUnavailable

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP = 1 << 30


def select_device(wanted: str, require_gpu: bool = False) -> torch.device:
    """The device of a name: auto, cpu, cuda, cuda:N or mps; `auto` takes cuda, then mps, then cpu. Without a number, cuda
    means all that there are.

    Raises DeviceUnavailable for a name that is no device, a device that is not there, and the CPU where a GPU is required.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise DeviceUnavailable(f"{wanted!r} is not a device; choose auto, cpu, cuda, cuda:N or mps.") from None
    if not _present(device):
        raise DeviceUnavailable(f"The device {wanted} is not on this machine; torch {torch.__version__} sees {_seen()}.")
    if require_gpu and device.type == "cpu":
        raise DeviceUnavailable(f"A GPU is required, but torch {torch.__version__} sees {_seen()}.")
    return device


def expand_device(device: torch.device) -> list[torch.device]:
    """The devices that one stands for."""
    if device.type != "cuda" or device.index is not None:
        return [device]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


@cache
def tune_malloc() -> None:
    """Tell glibc to keep freed memory instead of returning every activation's pages: half as much again in speed on a CPU."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library, which has its own ways
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(option, _KEEP)
    mallopt(_M_TOP_PAD, _KEEP >> 4)


def _present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _seen() -> str:
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join([*names, "cpu"]) if names else "only the CPU"
