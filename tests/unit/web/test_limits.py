"""Limits of requests, cursors, and what the server remembers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from indexer.domain.errors import UsageError
from web.answers import AsciiJSON, from_cursor, to_cursor
from web.limits import Analyses, Deadlines
from web.memory import Kept
from web.problems import ProblemError
from web.thumbnails import Thumbnails

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}


def run_behind_deadlines(app: Any, receive: Any, **seconds: float) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Deadlines(app, **seconds)(dict(SCOPE), receive, send))
    return sent


async def whole_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def no_body() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def test_an_answer_that_does_not_begin_in_time_is_given_up() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    sent = run_behind_deadlines(app, whole_body, answer_seconds=0.0)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503


def test_an_answer_that_has_begun_may_take_any_time() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"late"})

    sent = run_behind_deadlines(app, whole_body, answer_seconds=1000.0)
    assert sent[-1]["body"] == b"late"


def test_a_body_that_does_not_arrive_ends_the_request() -> None:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    sent = run_behind_deadlines(app, no_body, body_seconds=0.0)
    assert sent[0]["status"] == 408


def test_waiting_for_the_end_of_a_client_is_no_missing_body() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = run_behind_deadlines(app, whole_body, body_seconds=1000.0)
    assert sent[0]["status"] == 200


def test_analyses_beyond_the_limit_are_refused_at_once() -> None:
    analyses = Analyses(2)
    with analyses.one(), analyses.one():
        with pytest.raises(ProblemError) as refused, analyses.one():
            pass
        assert refused.value.status == 429
        assert refused.value.retry_after
    with analyses.one():
        pass


def test_cursors_return_what_they_hold() -> None:
    place = {"s": 0.1 + 0.2, "p": 7, "f": 2**62}
    assert from_cursor(to_cursor(**place), s=float, p=int, f=int) == place
    assert from_cursor(None, s=float) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "äöü",
        "W10",
        to_cursor(o=-1),
        to_cursor(o=1.5),
        to_cursor(o=True),
        to_cursor(p=1),
        to_cursor(o=2**63),
        "A" * 5000,
    ],
)
def test_other_cursors_are_errors(cursor: str) -> None:
    with pytest.raises(UsageError, match="cursor"):
        from_cursor(cursor, o=int)


def test_json_carries_names_that_are_no_text() -> None:
    assert AsciiJSON({"path": b"/a\xff\xc3\xa4".decode("utf-8", "surrogateescape")}).body == b'{"path":"/a\\udcff\\u00e4"}'


def test_kept_values_are_bounded_in_number_and_time() -> None:
    now = [0.0]
    kept: Kept[int] = Kept(2, 10.0, lambda: now[0])
    for number in range(3):
        kept.put(str(number), number)
    assert [kept.get("0"), kept.get("1"), kept.get("2")] == [None, 1, 2]
    now[0] = 9.0
    assert kept.get("1") == 1
    now[0] = 15.0
    assert kept.get("1") == 1
    assert kept.get("2") is None


def test_kept_values_can_be_taken_by_key_or_the_latest_first() -> None:
    kept: Kept[int] = Kept(5, 10.0)
    keys = [kept.add(number) for number in range(3)]
    assert kept.pop(keys[0]) == 0
    assert kept.pop(None) == 2
    assert kept.pop(None) == 1
    assert kept.pop(None) is None
    assert kept.pop(keys[0]) is None


def test_keys_cannot_be_guessed() -> None:
    kept: Kept[int] = Kept(100, 10.0)
    assert len({kept.add(0) for _ in range(50)}) == 50
    assert all(len(kept.add(0)) == 32 for _ in range(3))


def test_the_folder_of_thumbnails_is_bounded(tmp_path: Path) -> None:
    import os

    thumbnails = Thumbnails(tmp_path / "thumbnails", None, max_bytes=1000)  # type: ignore[arg-type]  # it decodes nothing here
    ids = [f"{number:02x}" * 32 for number in range(20)]
    for number, image_id in enumerate(ids):
        path = thumbnails._path(image_id, 256)
        thumbnails._keep(path, b"x" * 100)
        if path.exists():
            os.utime(path, (number, number))
    files = list(tmp_path.rglob("*.webp"))
    assert sum(path.stat().st_size for path in files) <= 1000
    assert thumbnails.kept(ids[-1], 256) == b"x" * 100
    assert thumbnails.kept(ids[0], 256) is None
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written_costs_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    thumbnails = Thumbnails(tmp_path / "file", None)  # type: ignore[arg-type]
    thumbnails._keep(thumbnails._path("ab" * 32, 128), b"x")
    assert thumbnails.kept("ab" * 32, 128) is None


def test_an_empty_thumbnail_is_made_again(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path, None)  # type: ignore[arg-type]
    path = thumbnails._path("ab" * 32, 128)
    path.parent.mkdir()
    path.write_bytes(b"")
    assert thumbnails.kept("ab" * 32, 128) is None


def test_analyses_are_counted_across_threads() -> None:
    analyses = Analyses(1)
    entered, leave = threading.Event(), threading.Event()

    def analyze() -> None:
        with analyses.one():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=analyze)
    thread.start()
    assert entered.wait(30)
    with pytest.raises(ProblemError), analyses.one():
        pass
    leave.set()
    thread.join()
