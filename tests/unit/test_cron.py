"""Times of cron expressions and intervals, in time zones with daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from indexer.scheduling.cron import format_every, local_zone, parse_cron, parse_every
from tests.support.effort import examples

BERLIN = ZoneInfo("Europe/Berlin")


def times(expression: str, start: str, count: int, zone: tzinfo = UTC) -> list[str]:
    """Return the next times after a local time, as local times with their offsets."""
    next_time = parse_cron(expression, zone)
    time: float | None = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp()
    local_times = []
    for _ in range(count):
        assert time is not None
        time = next_time(time)
        assert time is not None
        local_times.append(datetime.fromtimestamp(time, zone).isoformat(" ", "minutes"))
    return local_times


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
def test_fields_have_the_meaning_of_crontab(expression: str, expected: list[str]) -> None:
    assert times(expression, "2026-03-04 12:00", len(expected)) == [f"{time}+00:00" for time in expected]


def test_a_skipped_time_runs_once_after_the_change_of_clocks() -> None:
    assert times("30 2 * * *", "2026-03-28 12:00", 2, BERLIN) == ["2026-03-29 03:30+02:00", "2026-03-30 02:30+02:00"]


def test_times_close_to_a_change_of_clocks_are_not_lost() -> None:
    assert times("30 0 * * *", "2021-03-28 00:42", 1, BERLIN) == ["2021-03-29 00:30+02:00"]
    new_york = ZoneInfo("America/New_York")
    assert times("*/10 1-3 * * 0", "2019-11-03 03:08", 2, new_york) == ["2019-11-03 03:10-05:00", "2019-11-03 03:20-05:00"]


def test_a_doubled_time_runs_twice() -> None:
    expected = ["2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00", "2026-10-26 02:30+01:00"]
    assert times("30 2 * * *", "2026-10-24 12:00", 3, BERLIN) == expected
    assert len(set(times("0 * * * *", "2026-10-24 23:30", 26, BERLIN))) == 26


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 3 * *", "has 4 of 5 fields"),
        ("", "has 0 of 5 fields"),
        ("@sometimes", "has 1 of 5 fields"),
        ("61 * * * *", "'61' is not a valid minute"),
        ("0 25 * * *", "'25' is not a valid hour"),
        ("0 0 0 * *", "'0' is not a valid day of the month"),
        ("0 0 * 13 *", "'13' is not a valid month"),
        ("0 0 * * 8", "'8' is not a valid weekday"),
        ("0 0 * * fri-mon", "'fri-mon' is not a valid weekday"),
        ("0 0 * * 1/0", "'1/0' is not a valid weekday"),
        ("*/0 * * * *", r"'\*/0' is not a valid minute"),
        ("a * * * *", "'a' is not a valid minute"),
        ("*/90 * * * *", r"'\*/90' is not a valid minute"),
        ("1,,2 * * * *", "'1,,2' is not a valid minute"),
        ("0 0 lw * *", "'lw' is not a valid day of the month"),
        ("0 0 * * mon#2", "'mon#2' is not a valid weekday"),
        ("0 0 * * 5l", "'5l' is not a valid weekday"),
        ("0 0 30 2 *", "a day that never occurs"),
    ],
)
def test_an_invalid_expression_is_an_error(expression: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_cron(expression, UTC)


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """Return a strategy for a field and the numbers that it allows."""
    number = st.integers(low, high)
    lists = st.lists(number, min_size=1, max_size=3).map(lambda values: (",".join(map(str, values)), frozenset(values)))
    ranges = (
        st.tuples(number, number).map(sorted).map(lambda ends: (f"{ends[0]}-{ends[1]}", frozenset(range(ends[0], ends[1] + 1))))
    )
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
def test_the_next_time_is_the_first_that_matches(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    start: datetime,
    zone: tzinfo,
) -> None:
    after = start.replace(tzinfo=zone).timestamp()
    next_time = parse_cron(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)(after)
    assert next_time is not None
    assert next_time > after
    clock = datetime.fromtimestamp(next_time, zone)
    matches = [clock.minute in minute[1], clock.hour in hour[1], clock.isoweekday() % 7 in weekday[1]]
    before, later = (datetime.fromtimestamp(next_time + hours * 3600, zone).utcoffset() for hours in (-3, 3))
    # A time in an hour that the clocks skipped runs after that hour.
    assert all(matches) or before != later
    for minutes in range(1, min(240, int((next_time - after) // 60))):
        earlier = datetime.fromtimestamp(next_time, UTC) - timedelta(minutes=minutes)
        clock = earlier.astimezone(zone)
        assert not (clock.minute in minute[1] and clock.hour in hour[1] and clock.isoweekday() % 7 in weekday[1])


CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),  # by half an hour
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),  # by two hours
    "Pacific/Apia": ("2011-12-30T10:00", "2012-03-31T14:00"),  # the first by a day
}
"""Times, in UTC, at which clocks are set forward or back."""


@given(
    minute=field(0, 59),
    hour=field(0, 23),
    weekday=field(0, 6),
    change=st.sampled_from([(zone, moment) for zone, moments in CHANGES.items() for moment in moments]),
    minutes=st.integers(-1600, 1600),
)
@examples(60)
def test_close_to_changes_of_clocks_no_time_is_lost_or_added(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    change: tuple[str, str],
    minutes: int,
) -> None:
    zone, start = ZoneInfo(change[0]), datetime.fromisoformat(change[1]).replace(tzinfo=UTC) + timedelta(minutes=minutes)

    def matches(clock: datetime) -> bool:
        return clock.minute in minute[1] and clock.hour in hour[1] and clock.isoweekday() % 7 in weekday[1]

    minutes_after = [start + timedelta(minutes=number) for number in range(1, 3000)]
    expected = {moment for moment in minutes_after if matches(moment.astimezone(zone))}
    first = start.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    readings = [(first + timedelta(minutes=number)).replace(tzinfo=zone) for number in range(5000)]
    matching_readings = [(reading, reading.astimezone(UTC)) for reading in readings if matches(reading)]
    expected |= {moment for reading, moment in matching_readings if moment.astimezone(zone).replace(fold=0) != reading}
    expected_time = min((moment for moment in expected if start < moment <= minutes_after[-1]), default=None)
    next_time = parse_cron(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)(start.timestamp())
    assert next_time is not None
    if expected_time is None:
        assert next_time > minutes_after[-1].timestamp()
    else:
        assert datetime.fromtimestamp(next_time, UTC) == expected_time


@given(st.integers(10, 366 * 86400))
@examples(100)
def test_a_shown_interval_parses_to_the_same_seconds(seconds: int) -> None:
    assert parse_every(format_every(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21600), ("1d", 86400), ("1H30M", 5400), ("2w", 1209600)]
)
def test_intervals_are_parsed(text: str, seconds: int) -> None:
    assert parse_every(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "6 hours", "-1h", "1.5h", "0s", "9s", "400d", "6h;"])
def test_an_invalid_interval_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="--every"):
        parse_every(text)


def test_the_local_time_zone_has_an_offset() -> None:
    assert datetime.now(local_zone()).utcoffset() is not None
