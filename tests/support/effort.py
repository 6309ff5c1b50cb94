"""How many examples property tests try."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def examples(count: int, shared: bool = False) -> settings:
    """Settings for `count` examples under a profile of 100, for others in proportion; no example has to be fast.

    `shared`: function-scoped fixtures may be used, and are the same for all examples.
    """
    most = max(1, count * settings().max_examples // 100)
    allowed = [HealthCheck.too_slow] + [HealthCheck.function_scoped_fixture] * shared
    return settings(max_examples=most, deadline=None, suppress_health_check=allowed)
