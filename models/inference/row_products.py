"""Matrix products in which no row of the result depends on the other rows.

BLAS selects a kernel by the number of rows, and kernels round differently. Therefore a product of 16 rows can differ in the last
bits from 16 products of one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats


def multiply_rows(rows: Floats, matrix: Floats) -> Floats:
    """Return `rows @ matrix` of float32, (N, K) and (K, M): float32, (N, M), computed row by row, so identical for every N."""
    product: Floats = np.matmul(rows[:, None, :], matrix)[:, 0]
    return product
