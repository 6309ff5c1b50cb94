"""Times of schedules: cron expressions in a time zone, and intervals such as "6h"."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import NamedTuple

from indexer.domain.errors import UsageError

NextTime = Callable[[float], float | None]
"""A function that returns the first time after another, both in seconds since the epoch; None if the schedule has ended."""


class _Field(NamedTuple):
    """A field of a cron expression.

    - `name`, `allowed`: what error messages call the field and its values.
    - `max_step`: the longest step between two of its values.
    """

    name: str
    allowed: str
    max_step: int


_WEEKDAY = _Field("weekday", "0-7 or sun-sat", 7)
_FIELDS = (
    _Field("minute", "0-59", 59),
    _Field("hour", "0-23", 23),
    _Field("day of the month", "1-31", 30),
    _Field("month", "1-12", 11),
    _WEEKDAY,
)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SYNTAX_HELP = "write minute, hour, day of the month, month and weekday, for example '0 3 * * *' for every night at three"
_UNIT_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_INTERVAL = re.compile(r"(?:\d+[wdhms])+")
_FIELD_SYNTAX = re.compile(r"(?:[0-9*,/-]|\b[a-z]{3}\b|\blast\b)+")
_MIN_INTERVAL_SECONDS, _MAX_INTERVAL_SECONDS = 10, 366 * 86400
_DAY_SECONDS = 86400.0


def local_zone() -> tzinfo:
    """Return the time zone of this machine. Raises UsageError if it cannot be determined."""
    from tzlocal import get_localzone

    try:
        return get_localzone()
    except (LookupError, OSError, ValueError) as error:
        source = f" from TZ={os.environ['TZ']!r}" if os.environ.get("TZ") else ""
        raise UsageError(
            f"Cannot determine the time zone{source}. Set TZ to the name of a zone, for example TZ=Europe/Berlin."
        ) from error


@lru_cache(maxsize=256)
def parse_cron(expression: str, zone: tzinfo) -> NextTime:
    """Return the function that computes the next time of a cron expression in a time zone. Raises UsageError.

    An expression has five fields, or is @hourly, @daily and so on. As in crontabs, weekdays 0 and 7 are Sunday, and if both the
    day of the month and the weekday are restricted, one of them is enough. If the clocks skip a time, it occurs at the moment at
    which it would have been; if a time occurs twice, both count.
    """
    from cronsim import CronSimError

    fields = _NICKNAMES.get(expression.strip().lower(), expression).lower().split()
    if len(fields) != len(_FIELDS):
        raise UsageError(f"--cron {expression!r} has {len(fields)} of 5 fields; {_SYNTAX_HELP}.")
    try:
        next_time = partial(_next_time, " ".join(map(_for_cronsim, _FIELDS, fields)), zone)
    except ValueError as error:
        raise UsageError(f"--cron {expression!r}: {error}; {_SYNTAX_HELP}.") from None
    try:
        never = next_time(datetime(2024, 1, 1, tzinfo=zone).timestamp()) is None
    except CronSimError:
        never = True
    if never:
        raise UsageError(f"--cron {expression!r} names a day that never occurs.")
    return next_time


def parse_every(text: str) -> float:
    """Return the seconds of an interval such as "90s", "15m", "6h", "1d", "2w" or "1h30m". Raises UsageError."""
    if not _INTERVAL.fullmatch(text.strip().lower()):
        raise UsageError(f"--every {text!r} is not an interval; write a number and s, m, h, d or w, for example '6h' or '1h30m'.")
    seconds = sum(int(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)([wdhms])", text.lower()))
    if not _MIN_INTERVAL_SECONDS <= seconds <= _MAX_INTERVAL_SECONDS:
        raise UsageError(
            f"--every {text!r} is out of range; an interval is at least {_MIN_INTERVAL_SECONDS} seconds and at most 366 days."
        )
    return float(seconds)


def format_every(seconds: float) -> str:
    """Return an interval in the notation that `parse_every` reads."""
    parts, left = [], round(seconds)
    for unit, size in _UNIT_SECONDS.items():
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts) or "0s"


def _next_time(fields: str, zone: tzinfo, time: float) -> float | None:
    """Return the first time after `time` at which a clock in the zone matches the fields.

    cronsim receives local times without a zone, because with a zone it counts a repeated time only once.
    """
    from cronsim import CronSim

    yesterday, now, tomorrow = (datetime.fromtimestamp(time + shift, zone) for shift in (-_DAY_SECONDS, 0.0, _DAY_SECONDS))
    # Near a clock change, an earlier clock reading may belong to a later time.
    change = abs((tomorrow.utcoffset() or timedelta()) - (yesterday.utcoffset() or timedelta()))
    candidates: list[float] = []
    for reading in CronSim(fields, now.replace(tzinfo=None) - change):
        first, second = (reading.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        # first < second: the clocks show this reading twice. first > second: they skip it, and it would have been at `first`.
        candidates += [moment for moment in (first, max(first, second)) if moment > time]
        if time < first <= second:
            break  # an earlier time can only follow a reading that the clocks skip
    return min(candidates, default=None)


def _for_cronsim(field: _Field, text: str) -> str:
    """Translate a field to the syntax of cronsim.

    Raises ValueError for values outside the field's range, and for syntax that crontabs do not have.
    """
    from cronsim import CronSim, CronSimError

    translated = text.replace("last", "l")
    if field is _WEEKDAY:
        # In a crontab, a step that begins at a weekday ends at Saturday. cronsim continues to 7, which is Sunday.
        translated = re.sub(r"(^|,)(\w+)/", r"\1\2-6/", translated)
    steps = [int(step) for step in re.findall(r"/(\d+)", text)]
    try:
        CronSim(" ".join(translated if other is field else "*" for other in _FIELDS), datetime(2024, 1, 1))
        valid = _FIELD_SYNTAX.fullmatch(text) is not None and max(steps, default=0) <= field.max_step
    except CronSimError:
        valid = False
    if not valid:
        raise ValueError(f"{text!r} is not a valid {field.name} ({field.allowed})")
    return translated
