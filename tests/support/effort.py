"""The number of examples that property tests try."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def examples(count: int, shared: bool = False) -> settings:
    """Return settings for `count` examples under a profile of 100, in proportion under others.

    Slow examples pass the health check. With `shared`, function-scoped fixtures are allowed and are the same for all examples.
    """
    max_examples = max(1, count * settings().max_examples // 100)
    suppressed = [HealthCheck.too_slow] + [HealthCheck.function_scoped_fixture] * shared
    return settings(max_examples=max_examples, deadline=None, suppress_health_check=suppressed)
