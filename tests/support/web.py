"""The web application over a library, with a client that asks it in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from starlette.testclient import TestClient

from indexer.settings import Settings
from web.access import access_to
from web.app import create_app
from web.serving import open_serving

API = "/api/v1"


@contextmanager
def browsing(home: Path) -> Iterator[TestClient]:
    """Serve the library of a data folder; yield a client that asks by the name of this machine."""
    app = create_app(open_serving(Settings(home=home)), access_to("127.0.0.1", (), home))
    with TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as client:
        yield client


def answer(response: Any, schema: Any, status: int = 200) -> Any:
    """Return the JSON of a response, which must have the fields of a schema and no others."""
    assert response.status_code == status, response.text
    parsed = TypeAdapter(schema).validate_json(response.content)
    shown = json.loads(response.content)
    kept = TypeAdapter(schema).dump_python(parsed, mode="json", exclude_unset=True, by_alias=True)
    assert kept == shown, "the answer has fields that its description lacks"
    return shown


def problem(response: Any, status: int) -> str:
    """Return the sentence of an error, which must have a status and be a problem of RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    facts = response.json()
    assert facts["status"] == status
    assert facts["title"]
    return str(facts["detail"])


def finished(client: TestClient, task: dict[str, Any]) -> dict[str, Any]:
    """Follow the events of a task until it ends; return the last one."""
    with client.stream("GET", f"{API}/tasks/{task['id']}/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers, "a compressed event waits for the next ones"
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    assert [event["done"] for event in events] == sorted(event["done"] for event in events) or task["kind"] != "index"
    assert events[-1]["state"] != "running"
    return dict(events[-1])
