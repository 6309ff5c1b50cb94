"""When: crontab expressions, reckoned by APScheduler's triggers in a time zone, and intervals as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

Next = Callable[[float], float | None]
"""The first time after another, both in seconds since the epoch; None where there is none any more."""

_FIELDS = (
    ("minute", "minute", "0-59"),
    ("hour", "hour", "0-23"),
    ("day", "day of the month", "1-31"),
    ("month", "month", "1-12"),
    ("day_of_week", "weekday", "0-7 or sun-sat"),
)
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
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
_SHORTEST, _LONGEST = 10, 366 * 86400
_INSTANT = 1e-6


def local_zone() -> tzinfo:
    """The time zone of this machine. Raises UsageError where it cannot be told."""
    from tzlocal import get_localzone

    try:
        return get_localzone()
    except (LookupError, OSError, ValueError) as error:
        told = f" from TZ={os.environ['TZ']!r}" if os.environ.get("TZ") else ""
        raise UsageError(f"The time zone cannot be told{told}; set TZ to a zone's name, as TZ=Europe/Berlin.") from error


@lru_cache(maxsize=256)
def cron(expression: str, zone: tzinfo) -> Next:
    """The times of a crontab's five fields, or of @hourly, @daily and so on, in a time zone.

    As in crontabs, weekday 0 and 7 are Sunday, and where both kinds of day are restricted either will do. A time that the clocks
    leave out is taken at the moment at which it would have been; one that comes twice comes twice. Raises UsageError.
    """
    fields = _SHORT.get(expression.strip().lower(), expression).lower().split()
    if len(fields) != len(_FIELDS):
        raise UsageError(f"--cron {expression!r} has {len(fields)} of 5 fields; {_HELP}.")
    values: dict[str, str] = {}
    for (field, words, allowed), text in zip(_FIELDS, fields, strict=True):
        try:
            values[field] = _weekdays(text) if field == "day_of_week" else text
            _trigger({field: values[field]}, zone)
        except ValueError:
            raise UsageError(f"--cron {expression!r}: {text!r} is no {words} ({allowed}); {_HELP}.") from None
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    kinds = ({"day": "*"}, {"day_of_week": "*"}) if either else ({},)
    triggers = [_trigger({**values, **kind}, zone) for kind in kinds]

    def following(time: float) -> float | None:
        # Not by adding to a local time: which of two equal ones it is would be lost.
        after = datetime.fromtimestamp(time + _INSTANT, zone)
        found = [fires.timestamp() for trigger in triggers if (fires := trigger.get_next_fire_time(None, after))]
        return min(found, default=None)

    if following(datetime(2024, 1, 1, tzinfo=zone).timestamp()) is None:
        raise UsageError(f"--cron {expression!r} names a day that there never is.")
    return following


def parse_every(text: str) -> float:
    """The seconds of an interval as "90s", "15m", "6h", "1d", "2w" or "1h30m". Raises UsageError."""
    if not _INTERVAL.fullmatch(text.strip().lower()):
        raise UsageError(f"--every {text!r} is no interval; write a number and s, m, h, d or w, as '6h' or '1h30m'.")
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


def _trigger(values: dict[str, str], zone: tzinfo) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(**values, timezone=zone)


def _weekdays(text: str) -> str:
    """Weekdays as a crontab has them in APScheduler's words, which count from Monday. Raises ValueError."""
    if text == "*":
        return text
    days: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low, high = _weekday(first), _weekday(last) if dash else 6 if slash else _weekday(first)
        if high < low or (slash and not (step.isdecimal() and int(step))):
            raise ValueError(part)
        days.update(day % 7 for day in range(low, high + 1, int(step) if slash else 1))
    return ",".join(_WEEKDAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if not text.isdecimal() or int(text) > 7:
        raise ValueError(text)
    return int(text)
