"""The tolerance for scores of one image in batches of different sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

_UNIT_ROUNDOFF = 2.0**-24
_LAYERS, _LONGEST_SUM, _LARGEST_LOGIT = 50, 4608, 16.0

SCORE_TOLERANCE = 0.25 * _LARGEST_LOGIT * _UNIT_ROUNDOFF * (_LAYERS * _LONGEST_SUM) ** 0.5
"""1.1e-4. A kernel may add the terms of a sum in another order. Rounding errors are nearly independent, so a sum of K terms has
a relative error of about sqrt(K) u, and L layers of such sums one of sqrt(L K) u (Higham and Mary 2019; u = 2**-24 for float32).
The deepest network that moodex can train, ResNet-50, has L = 50 and K <= 4608. Logits are at most 16, and the error of a logit
changes a probability p by at most p (1 - p) <= 1/4 of it. docs/explanation/reliability.md states the promise;
bench/batch_invariance.py measures it.
"""


def assert_same_scores(first: Any, second: Any) -> None:
    """Raise AssertionError unless two arrays of probabilities, or of embeddings, agree within `SCORE_TOLERANCE`."""
    np.testing.assert_allclose(np.asarray(first), np.asarray(second), rtol=0, atol=SCORE_TOLERANCE)
