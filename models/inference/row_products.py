"""Matrix products in which no row depends on the other rows.

BLAS chooses a kernel by the number of rows, and kernels round differently: a product of 16 rows can differ in the last bits from
16 products of one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats


def multiply_rows(rows: Floats, matrix: Floats) -> Floats:
    """Return `rows @ matrix`, (N, K) by (K, M), computed row by row: bit-identical for every N."""
    product: Floats = np.matmul(rows[:, None, :], matrix)[:, 0]
    return product
