"""The import of ONNX Runtime, with its telemetry off."""

from __future__ import annotations

import os
from types import ModuleType


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime. Raises ImportError.

    Its recent builds write an identifier of the computer to the home folder and send events to Microsoft. The
    variable must be set before the import: `onnxruntime.disable_telemetry_events` is too late.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
