"""When: what crontabs and intervals mean, in time zones whose clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from indexer.scheduling.cron import cron, local_zone, parse_every, shown_every
from tests.support.effort import examples

BERLIN = ZoneInfo("Europe/Berlin")


def times(expression: str, start: str, count: int, zone: tzinfo = UTC) -> list[str]:
    """The next times after a local one, as local times with their offset."""
    following = cron(expression, zone)
    time: float | None = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp()
    found = []
    for _ in range(count):
        assert time is not None
        time = following(time)
        assert time is not None
        found.append(datetime.fromtimestamp(time, zone).isoformat(" ", "minutes"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * *", ["2026-03-05 03:00", "2026-03-06 03:00"]),
        ("*/30 12 * * *", ["2026-03-04 12:30", "2026-03-05 12:00"]),
        ("0 0 1 * *", ["2026-04-01 00:00", "2026-05-01 00:00"]),
        ("0 0 * * 0", ["2026-03-08 00:00", "2026-03-15 00:00"]),  # Sundays
        ("0 0 * * 7", ["2026-03-08 00:00", "2026-03-15 00:00"]),
        ("0 0 * * 1-5", ["2026-03-05 00:00", "2026-03-06 00:00", "2026-03-09 00:00"]),
        ("0 0 * * sat,SUN", ["2026-03-07 00:00", "2026-03-08 00:00", "2026-03-14 00:00"]),
        ("0 0 * * 5-7", ["2026-03-06 00:00", "2026-03-07 00:00", "2026-03-08 00:00", "2026-03-13 00:00"]),
        ("0 0 * * */3", ["2026-03-07 00:00", "2026-03-08 00:00", "2026-03-11 00:00"]),
        ("0 0 13 * 5", ["2026-03-06 00:00", "2026-03-13 00:00", "2026-03-20 00:00"]),  # the 13th, or any Friday
        ("0 9 * jan *", ["2027-01-01 09:00", "2027-01-02 09:00"]),
        ("@daily", ["2026-03-05 00:00"]),
        ("@Hourly", ["2026-03-04 13:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 * * 5/2", ["2026-03-06 00:00", "2026-03-13 00:00"]),  # from Friday to Saturday
        ("0 0 last * *", ["2026-03-31 00:00", "2026-04-30 00:00"]),
        ("0 0 15-20/2 dec,jan *", ["2026-12-15 00:00", "2026-12-17 00:00"]),
    ],
)
def test_fields_mean_what_they_mean_in_a_crontab(expression: str, expected: list[str]) -> None:
    assert times(expression, "2026-03-04 12:00", len(expected)) == [f"{time}+00:00" for time in expected]


def test_a_time_that_the_clocks_leave_out_is_taken_once_when_it_would_have_been() -> None:
    assert times("30 2 * * *", "2026-03-28 12:00", 2, BERLIN) == ["2026-03-29 03:30+02:00", "2026-03-30 02:30+02:00"]


def test_times_beside_a_change_of_the_clocks_are_not_lost() -> None:
    assert times("30 0 * * *", "2021-03-28 00:42", 1, BERLIN) == ["2021-03-29 00:30+02:00"]
    new_york = ZoneInfo("America/New_York")
    assert times("*/10 1-3 * * 0", "2019-11-03 03:08", 2, new_york) == ["2019-11-03 03:10-05:00", "2019-11-03 03:20-05:00"]


def test_a_time_that_comes_twice_comes_twice() -> None:
    expected = ["2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00", "2026-10-26 02:30+01:00"]
    assert times("30 2 * * *", "2026-10-24 12:00", 3, BERLIN) == expected
    assert len(set(times("0 * * * *", "2026-10-24 23:30", 26, BERLIN))) == 26


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 3 * *", "has 4 of 5 fields"),
        ("", "has 0 of 5 fields"),
        ("@sometimes", "has 1 of 5 fields"),
        ("61 * * * *", "'61' is no minute"),
        ("0 25 * * *", "'25' is no hour"),
        ("0 0 0 * *", "'0' is no day of the month"),
        ("0 0 * 13 *", "'13' is no month"),
        ("0 0 * * 8", "'8' is no weekday"),
        ("0 0 * * fri-mon", "'fri-mon' is no weekday"),
        ("0 0 * * 1/0", "'1/0' is no weekday"),
        ("*/0 * * * *", r"'\*/0' is no minute"),
        ("a * * * *", "'a' is no minute"),
        ("*/90 * * * *", r"'\*/90' is no minute"),
        ("1,,2 * * * *", "'1,,2' is no minute"),
        ("0 0 lw * *", "'lw' is no day of the month"),
        ("0 0 * * mon#2", "'mon#2' is no weekday"),
        ("0 0 * * 5l", "'5l' is no weekday"),
        ("0 0 30 2 *", "a day that never occurs"),
    ],
)
def test_what_is_no_schedule_is_named(expression: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cron(expression, UTC)


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field and the numbers that it allows."""
    number = st.integers(low, high)
    lists = st.lists(number, min_size=1, max_size=3).map(lambda found: (",".join(map(str, found)), frozenset(found)))
    ranges = st.tuples(number, number).map(sorted).map(lambda one: (f"{one[0]}-{one[1]}", frozenset(range(one[0], one[1] + 1))))
    steps = st.integers(1, high - low).map(lambda step: (f"*/{step}", frozenset(range(low, high + 1, step))))
    return st.one_of(st.just(("*", frozenset(range(low, high + 1)))), lists, ranges, steps)


@given(
    minute=field(0, 59),
    hour=field(0, 23),
    weekday=field(0, 6),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    zone=st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Australia/Lord_Howe")]),
)
@examples(60)
def test_the_next_time_is_the_first_that_fits(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    start: datetime,
    zone: tzinfo,
) -> None:
    after = start.replace(tzinfo=zone).timestamp()
    found = cron(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)(after)
    assert found is not None
    assert found > after
    clock = datetime.fromtimestamp(found, zone)
    fits = [clock.minute in minute[1], clock.hour in hour[1], clock.isoweekday() % 7 in weekday[1]]
    before, later = (datetime.fromtimestamp(found + hours * 3600, zone).utcoffset() for hours in (-3, 3))
    # Where the clocks have just left out an hour, a time in it is taken on the other side.
    assert all(fits) or before != later
    for minutes in range(1, min(240, int((found - after) // 60))):
        earlier = datetime.fromtimestamp(found, UTC) - timedelta(minutes=minutes)
        shown = earlier.astimezone(zone)
        assert not (shown.minute in minute[1] and shown.hour in hour[1] and shown.isoweekday() % 7 in weekday[1])


CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),  # by half an hour
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),  # by two hours
    "Pacific/Apia": ("2011-12-30T10:00", "2012-03-31T14:00"),  # the first by a day
}
"""Moments, in UTC, at which clocks are set forward or back."""


@given(
    minute=field(0, 59),
    hour=field(0, 23),
    weekday=field(0, 6),
    change=st.sampled_from([(zone, moment) for zone, moments in CHANGES.items() for moment in moments]),
    minutes=st.integers(-1600, 1600),
)
@examples(60)
def test_around_changes_of_the_clocks_no_time_is_lost_and_none_is_made_up(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    change: tuple[str, str],
    minutes: int,
) -> None:
    zone, start = ZoneInfo(change[0]), datetime.fromisoformat(change[1]).replace(tzinfo=UTC) + timedelta(minutes=minutes)

    def fits(clock: datetime) -> bool:
        return clock.minute in minute[1] and clock.hour in hour[1] and clock.isoweekday() % 7 in weekday[1]

    shown = [start + timedelta(minutes=number) for number in range(1, 3000)]
    expected = {moment for moment in shown if fits(moment.astimezone(zone))}
    first = start.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    readings = [(first + timedelta(minutes=number)).replace(tzinfo=zone) for number in range(5000)]
    would_have_been = [(reading, reading.astimezone(UTC)) for reading in readings if fits(reading)]
    expected |= {moment for reading, moment in would_have_been if moment.astimezone(zone).replace(fold=0) != reading}
    wanted = min((moment for moment in expected if start < moment <= shown[-1]), default=None)
    found = cron(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)(start.timestamp())
    assert found is not None
    if wanted is None:
        assert found > shown[-1].timestamp()
    else:
        assert datetime.fromtimestamp(found, UTC) == wanted


@given(st.integers(10, 366 * 86400))
@examples(100)
def test_an_interval_comes_back_as_it_was(seconds: int) -> None:
    assert parse_every(shown_every(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21600), ("1d", 86400), ("1H30M", 5400), ("2w", 1209600)]
)
def test_intervals(text: str, seconds: int) -> None:
    assert parse_every(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "6 hours", "-1h", "1.5h", "0s", "9s", "400d", "6h;"])
def test_what_is_no_interval_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--every"):
        parse_every(text)


def test_the_machine_has_a_time_zone() -> None:
    assert datetime.now(local_zone()).utcoffset() is not None
