"""Times of schedules: crontab expressions in a time zone, and intervals as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import NamedTuple

from indexer.domain.errors import UsageError

Next = Callable[[float], float | None]
"""The first time after another, both in seconds since the epoch; None where there is none any more."""


class _Field(NamedTuple):
    """A field of an expression: what error messages call it and its values, and the longest step between two of these."""

    name: str
    allowed: str
    longest_step: int


_WEEKDAY = _Field("weekday", "0-7 or sun-sat", 7)
_FIELDS = (
    _Field("minute", "0-59", 59),
    _Field("hour", "0-23", 23),
    _Field("day of the month", "1-31", 30),
    _Field("month", "1-12", 11),
    _WEEKDAY,
)
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_HELP = "write minute, hour, day of the month, month and weekday, as '0 3 * * *' for every night at three"
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_INTERVAL = re.compile(r"(?:\d+[wdhms])+")
_SIGNS = re.compile(r"(?:[0-9*,/-]|\b[a-z]{3}\b|\blast\b)+")
_SHORTEST, _LONGEST = 10, 366 * 86400
_DAY = 86400.0


def local_zone() -> tzinfo:
    """The time zone of this machine. Raises UsageError where it cannot be told."""
    from tzlocal import get_localzone

    try:
        return get_localzone()
    except (LookupError, OSError, ValueError) as error:
        told = f" from TZ={os.environ['TZ']!r}" if os.environ.get("TZ") else ""
        raise UsageError(f"The time zone is unknown{told}; set TZ to a zone's name, as TZ=Europe/Berlin.") from error


@lru_cache(maxsize=256)
def cron(expression: str, zone: tzinfo) -> Next:
    """Return the function that gives the next time of a crontab's five fields, or of @hourly, @daily and so on, in a time zone.

    As in crontabs, weekdays 0 and 7 are Sunday, and where both kinds of day are restricted, either is enough. A time that the
    clocks skip is taken at the moment at which it would have been; one that comes twice is taken twice. Raises UsageError.
    """
    from cronsim import CronSimError

    fields = _SHORT.get(expression.strip().lower(), expression).lower().split()
    if len(fields) != len(_FIELDS):
        raise UsageError(f"--cron {expression!r} has {len(fields)} of 5 fields; {_HELP}.")
    try:
        following = partial(_next_time, " ".join(map(_for_cronsim, _FIELDS, fields)), zone)
    except ValueError as error:
        raise UsageError(f"--cron {expression!r}: {error}; {_HELP}.") from None
    try:
        never = following(datetime(2024, 1, 1, tzinfo=zone).timestamp()) is None
    except CronSimError:
        never = True
    if never:
        raise UsageError(f"--cron {expression!r} names a day that never occurs.")
    return following


def parse_every(text: str) -> float:
    """The seconds of an interval as "90s", "15m", "6h", "1d", "2w" or "1h30m". Raises UsageError."""
    if not _INTERVAL.fullmatch(text.strip().lower()):
        raise UsageError(f"--every {text!r} is not an interval; write a number and s, m, h, d or w, as '6h' or '1h30m'.")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([wdhms])", text.lower()))
    if not _SHORTEST <= seconds <= _LONGEST:
        raise UsageError(f"--every {text!r} is out of range; an interval is at least {_SHORTEST} seconds and at most 366 days.")
    return float(seconds)


def shown_every(seconds: float) -> str:
    """An interval as `parse_every` takes it."""
    parts, left = [], round(seconds)
    for unit, size in _UNITS.items():
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts) or "0s"


def _next_time(fields: str, zone: tzinfo, time: float) -> float | None:
    """The first time after `time` at which a clock in the zone shows what the fields name.

    cronsim only goes through the readings of a clock, without a zone: of its own rules, one takes a repeated time once.
    """
    from cronsim import CronSim

    yesterday, now, tomorrow = (datetime.fromtimestamp(time + shift, zone) for shift in (-_DAY, 0.0, _DAY))
    # Around a change of the clocks, readings before that of `time` can belong to later times.
    change = abs((tomorrow.utcoffset() or timedelta()) - (yesterday.utcoffset() or timedelta()))
    found: list[float] = []
    for reading in CronSim(fields, now.replace(tzinfo=None) - change):
        first, second = (reading.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        # first < second: the clock shows it twice. first > second: it skips it, and `first` is when it would have been.
        found += [moment for moment in (first, max(first, second)) if moment > time]
        if time < first <= second:
            break  # only a skipped reading can be followed by an earlier time
    return min(found, default=None)


def _for_cronsim(field: _Field, text: str) -> str:
    """Translate a field to what cronsim reads.

    Raises ValueError for values that the field does not have, and for signs that crontabs do not have.
    """
    from cronsim import CronSim, CronSimError

    translated = text.replace("last", "l")
    if field is _WEEKDAY:
        # A step that begins at one weekday ends at Saturday; cronsim goes on to 7, which is Sunday.
        translated = re.sub(r"(^|,)(\w+)/", r"\1\2-6/", translated)
    steps = [int(step) for step in re.findall(r"/(\d+)", text)]
    try:
        CronSim(" ".join(translated if other is field else "*" for other in _FIELDS), datetime(2024, 1, 1))
        valid = _SIGNS.fullmatch(text) is not None and max(steps, default=0) <= field.longest_step
    except CronSimError:
        valid = False
    if not valid:
        raise ValueError(f"{text!r} is no {field.name} ({field.allowed})")
    return translated
