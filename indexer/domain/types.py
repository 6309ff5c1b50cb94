"""Array types of the domain. Only annotations use them, so that modules without arrays do not import numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Halves = npt.NDArray[np.float16]
    Ids = npt.NDArray[np.int64]
    Places = npt.NDArray[np.uint16]
